"""`unsee play`: the models of a finished run answer as the run's own table says."""

import pytest
from integration.command import unsee

from unsee.core.errors import ConfigError, RecordError
from unsee.core.progress import Silent
from unsee.core.record import Record
from unsee.play.playground import Ask
from unsee.runs.play import playground_of_models, playground_of_run
from unsee.scoring.names import readable_model


def test_every_model_of_a_run_answers_as_its_table_of_answers_says(finished, monkeypatch):
    folder, _ = finished
    monkeypatch.setenv("UNSEE_CACHE", str(folder.parent / "cache"))
    playground = playground_of_run(folder, Silent())
    assert playground.models[:2] == ["target", "oracle"] and len(playground.models) > 3
    table = Record.open(folder).read_answers()
    names = {"target": "target", "oracle": "oracle"}
    asked = table[(table["set"] == "forget") & (table["input"] == "text")]
    for number in range(2):
        for index, prepared in enumerate(playground.topics[number].asked):
            rows = asked[asked["question"] == prepared.question.question]
            for name in names if len(rows) and prepared.picture is None else ():
                said = playground.ask(Ask(model=readable_model(name, []), topic=number, question=index))
                assert said.answers[0] in {answer.strip() for answer in rows.loc[rows["method"] == name, "answer"]}


def test_models_without_people_take_questions_in_own_words(model):
    playground = playground_of_models([str(model), "nano"], None)
    assert playground.models == [model.name, "nano"] and not playground.topics


def test_what_cannot_be_opened_is_one_sentence(finished, model, tmp_path):
    folder, _ = finished
    with pytest.raises(ConfigError, match="twice"):
        playground_of_models(["nano", "nano"], None)
    with pytest.raises(ConfigError, match=f"play: {folder} is a run; give it alone"):
        playground_of_models([str(folder), "nano"], None)
    with pytest.raises(ConfigError, match=f"no such run or model; did you mean '{folder.name}'"):
        playground_of_models([f"{folder}x/"], None)
    with pytest.raises(RecordError, match="not a run"):
        playground_of_run(tmp_path, Silent())
    for words in (["play", folder, "--data", "x"], ["play", tmp_path / "none"], ["play", model, "--data", tmp_path]):
        said = unsee([str(word) for word in words], tmp_path / "cache")
        assert said.code == 2 and said.err.startswith("unsee")
