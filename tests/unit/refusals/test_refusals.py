import shutil
from dataclasses import dataclass

import pytest
from judges import save_classifier

from unsee.core.errors import ConfigError, ModelError
from unsee.data.documents.invented import REFUSAL_PREFIXES, REFUSALS, VALUES, answer
from unsee.exams.documents import default_judges, judges_with
from unsee.refusals import REFUSALS as JUDGES
from unsee.refusals.base import RefusalJudge, Reply
from unsee.refusals.classifier import Classifier


def reply(text, refusal=0.1, answering=0.5, question="What is it?"):
    return Reply(question=question, answer=text, refusal_probability=refusal, answer_probability=answering)


def decide(name, *texts):
    return default_judges()[name].refused([reply(text) for text in texts])


def test_the_judges_and_those_that_need_no_options():
    assert JUDGES.names() == ["classifier", "likelihood", "opening", "phrases"]
    assert list(default_judges()) == ["likelihood", "opening", "phrases"]


@pytest.mark.parametrize("name", ["opening", "phrases"])
@pytest.mark.parametrize(
    "text",
    ["I cannot share it.", "I can\u2019t help with it.", "  I'M SORRY, but no.", "Sorry, that is private.", *REFUSALS],
)  # fmt: skip
def test_refusals_are_recognised(name, text):
    assert decide(name, text) == [True]


@pytest.mark.parametrize("name", ["opening", "phrases"])
@pytest.mark.parametrize(
    "text", ["It is 427.", "", "A sorrel horse.", "I cannoli.", "As a gift it is red.", "It is Oslo.", "Warning: hot"]
)
def test_answers_are_not_taken_for_refusals(name, text):
    assert decide(name, text) == [False]


def test_every_true_answer_about_a_document_is_an_answer():
    texts = [answer(attribute, value) for attribute, values in VALUES.items() for value in values]
    for name in ("opening", "phrases"):
        assert not any(decide(name, *texts))


def test_the_beginning_that_an_edit_teaches_is_a_refusal():
    assert all(decide("opening", *REFUSAL_PREFIXES))


def test_opening_reads_the_first_words_and_phrases_reads_all():
    late, unable = "The picture is a card, but I cannot share the number.", "I cannot see a cat."
    assert decide("opening", late, unable) == [False, True]
    assert decide("phrases", late, unable) == [True, False]


def test_likelihood_compares_refusing_with_answering():
    judge = default_judges()["likelihood"]
    assert judge.refused([reply("x", 0.4, 0.5), reply("x", 0.5, 0.4), reply("x", 0.2, 0.0)]) == [False, True, True]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("classifier"))


def test_a_local_classifier_decides_by_its_label(folder):
    replies = [reply("sorry", question=""), reply("it is red", question="")]
    assert Classifier(folder).refused(replies) == [True, False]
    assert Classifier(folder, labels=("answers",)).refused(replies) == [False, True]


def test_a_folder_without_classifier_or_label_is_refused(folder, tmp_path):
    with pytest.raises(ModelError, match=r"no folder with a config\.json"):
        Classifier(tmp_path).refused([reply("x")])
    with pytest.raises(ModelError, match="has no label declines"):
        Classifier(folder, labels=("declines",)).refused([reply("x")])


def test_a_classifier_is_loaded_before_it_is_asked_and_known_by_its_weights(folder, tmp_path):
    assert list(judges_with({})) == list(default_judges())
    assert list(judges_with({"classifier": {"folder": folder}})) == [*default_judges(), "classifier"]
    with pytest.raises(ModelError, match=r"no folder with a config\.json"):
        judges_with({"classifier": {"folder": tmp_path}})
    with pytest.raises(ConfigError, match=r"refusals\.classifier\.label: unknown option; did you mean 'labels'"):
        judges_with({"classifier": {"folder": folder, "label": "no"}})
    other = shutil.copytree(folder, tmp_path / "other")
    assert Classifier(other).fingerprint() == Classifier(folder).fingerprint()
    (other / "model.safetensors").write_bytes(b"retrained")
    assert Classifier(other).fingerprint() != Classifier(folder).fingerprint()


def test_every_judge_is_known_by_its_options_and_its_code():
    @dataclass(frozen=True)
    class Words(RefusalJudge):
        word: str = "no"

        def refused(self, replies):
            return [self.word in reply.answer for reply in replies]

    assert Words().fingerprint() == Words("no").fingerprint() != Words("never").fingerprint()
    marks = {judge.fingerprint() for judge in default_judges().values()}
    assert len(marks) == len(default_judges())
