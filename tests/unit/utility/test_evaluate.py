"""A real (tiny) model answers the benchmarks."""

from dataclasses import replace

import families
import pytest
import tiny

from unsee.cli import main
from unsee.core.errors import DataError
from unsee.forward.generate import Group, generate
from unsee.utility import UTILITY, evaluate
from unsee.utility.evaluate import UtilityResult, answer_items, examine, group_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny.save_model(tmp_path_factory.mktemp("model")))


def test_together_and_alone_give_the_same_answers(folders):
    vlm = tiny.make_vlm()
    asked = [item for name in ("pope", "mmmu") for item in UTILITY.get(name)().items(folders[name])]
    together = answer_items(vlm, asked, 6)
    for item, answer in zip(asked, together, strict=True):
        pictures = [vlm.picture(image) for image in item.pictures()]
        chat = vlm.template(with_image=False)
        prompt = chat.before + vlm.family.placeholder * len(pictures) + item.text + chat.between
        group = Group.of([vlm.text_ids(prompt, pictures)], pictures)
        assert vlm.decode(generate(vlm, [group], max_new_tokens=6)[0]) == [answer]
    assert len(set(together)) > 1


def test_the_images_reach_the_model(folders):
    vlm = tiny.make_vlm()
    (item, *_) = UTILITY.get("mmmu")().items(folders["mmmu"])
    answers = {answer_items(vlm, [replace(item, images=(tiny.png(shade),))], 12)[0] for shade in range(5)}
    assert len(answers) > 1


def test_an_examination_that_was_stopped_resumes_at_the_images_not_yet_asked_about(
    folders, model, tmp_path, monkeypatch
):
    monkeypatch.setenv("UNSEE_CACHE", str(tmp_path))
    monkeypatch.setattr(evaluate, "IMAGES_AT_ONCE", 1)
    whole = examine(model, "pope", str(folders["pope"])).answers
    batches = []

    def stopped(*arguments, **options):
        if batches:
            raise KeyboardInterrupt
        batches.append(arguments)
        return generate(*arguments, **options)

    monkeypatch.setattr(evaluate, "generate", stopped)
    with pytest.raises(KeyboardInterrupt):
        examine(model, "pope", str(folders["pope"]))
    num_groups = len({item.images for item in UTILITY.get("pope")().items(folders["pope"])})
    again = []
    monkeypatch.setattr(evaluate, "generate", lambda *a, **o: again.append(a) or generate(*a, **o))
    assert examine(model, "pope", str(folders["pope"])).answers == whole
    assert len(again) == num_groups - 1 > 0
    assert not list((tmp_path / "answers").iterdir())


def test_a_question_longer_than_the_context_is_not_asked(folders):
    vlm = tiny.make_vlm()
    vlm.model.config.text_config.max_position_embeddings = 300
    short, *_ = items = list(UTILITY.get("pope")().items(folders["pope"]))
    endless = replace(short, text="Why " * 400)
    alone = answer_items(vlm, items, 4)
    assert answer_items(vlm, [endless, *items], 4) == ["", *alone]
    assert answer_items(vlm, [endless], 4) == [""]
    assert not UTILITY.get("pope")().mark(endless, "").valid


def test_a_placeholder_in_a_question_is_only_a_word(folders):
    vlm = tiny.make_vlm()
    (item, *_) = UTILITY.get("pope")().items(folders["pope"])
    assert answer_items(vlm, [replace(item, text=f"What is {vlm.family.placeholder}?")], 4) == answer_items(
        vlm, [replace(item, text="What is image?")], 4
    )


@pytest.mark.parametrize("family", families.MAKE)
def test_a_model_of_any_family_is_asked_as_its_processor_would_write_it(family, folders):
    vlm = families.make_vlm(family)
    two = next(item for item in UTILITY.get("mmmu")().items(folders["mmmu"]) if len(item.images) == 2)
    one = replace(two, images=two.images[:1])
    for item in (one,) if family == "llava_onevision" else (one, two):  # it shrinks pictures that are not alone
        chat = families.conversation(vlm, item.text, images=item.pictures())
        group = group_of(vlm, [item])
        assert group.prefix + group.suffixes[0] == chat["input_ids"][0].tolist()
    assert len(answer_items(vlm, [one, two], 2)) == 2


@pytest.mark.parametrize("name", UTILITY.names())
def test_the_command_prints_and_keeps_the_published_numbers(name, folders, model, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(f"unsee.utility.{name}.{UTILITY.get(name).__name__}.max_new_tokens", 4)
    assert main(["utility", model, "--benchmark", name, "--data", str(folders[name]), "--out", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    found = UtilityResult.model_validate_json((tmp_path / f"utility-{name}.json").read_text())
    assert found.metrics
    for metric in found.metrics:
        assert metric.low <= metric.value <= metric.high
        assert metric.name in out
    assert f"{found.n_items} questions" in out
    assert (tmp_path / f"utility-{name}.parquet").is_file()


def test_a_review_asks_once_and_gives_the_relative_score(folders, model, tmp_path, capsys, monkeypatch, server):
    monkeypatch.setattr("unsee.utility.llava_bench.LlavaBench.max_new_tokens", 4)
    monkeypatch.setenv("UNSEE_JUDGE_MODEL", "reviewer")
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    server.reply = lambda number, material: "SCORES: 10 5" if number != 2 else "Both are good."
    command = ["utility", model, "--benchmark", "llava_bench", "--data", str(folders["llava_bench"]), "--review"]
    assert main(command) == 2
    assert "give --out" in capsys.readouterr().err
    command += ["--out", str(tmp_path / "new")]
    assert main(command) == 2
    assert "descriptions of images, reference answers" in capsys.readouterr().err
    assert server.requests == []
    for asked, said in ((3, "unsee: 1 of 3 answers got no score; run the same command again"), (4, ""), (4, "")):
        assert main([*command, "--yes"]) == 0
        captured = capsys.readouterr()
        assert "50.00 [50.00, 50.00]" in captured.out
        assert said in captured.err and ("got no score" in captured.err) == bool(said)
        assert len(server.requests) == asked
    assert main([*command[:3], "pope", *command[4:]]) == 2
    assert "--review: pope has a metric of its own" in capsys.readouterr().err


def test_the_result_of_another_model_is_not_replaced(folders, model, tmp_path, capsys):
    for content in ('{"model": "other"}', "[]", "{"):
        (tmp_path / "utility-pope.json").write_text(content)
        command = ["utility", model, "--benchmark", "pope", "--data", str(folders["pope"]), "--out", str(tmp_path)]
        assert main(command) == 2
        assert "utility-pope.json: " in capsys.readouterr().err
        assert (tmp_path / "utility-pope.json").read_text() == content
        assert [path.name for path in tmp_path.iterdir()] == ["utility-pope.json"]


def test_bad_names_and_folders_are_one_sentence(capsys, model, folders, tmp_path):
    (tmp_path / "file").write_text("")
    pope = ["utility", model, "--benchmark", "pope", "--data", str(folders["pope"])]
    assert main([*pope, "--out", str(tmp_path / "file")]) == 2
    assert "file: not a folder; choose another --out" in capsys.readouterr().err
    assert main(["utility", model, "--benchmark", "poppe", "--data", "."]) == 2
    assert "did you mean 'pope'" in capsys.readouterr().err
    with pytest.raises(
        DataError, match="/no/such/folder: no such folder, and no name on the hub such as lmms-lab/POPE"
    ):
        examine(model, "pope", "/no/such/folder")
    with pytest.raises(DataError, match="run `hf download lmms-lab/POPE --repo-type dataset --local-dir DIR`"):
        examine(model, "pope", None)
