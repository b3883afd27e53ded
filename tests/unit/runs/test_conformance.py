import shutil
import tomllib

import pytest
import tiny
import tomli_w

from unsee.cli import main
from unsee.config.recipe import EvaluationConfig
from unsee.core.errors import ConfigError, DataError
from unsee.data.people.builder import build
from unsee.data.people.mllmu import load
from unsee.exams.people import Exam
from unsee.runs.conformance import EXPECTED, check_conformance, read_expected
from unsee.scoring.cells import cells

pytestmark = pytest.mark.slow

KEYS = {"cloze_shots": 0, "choice_shots": 0, "max_new_tokens": 4}
MEASURED = (("forget", "generation", "text", "rouge_l"), ("forget", "classification", "image", "accuracy"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conformance") / "data"
    build(folder, people=10, celebrities=2)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.save_model(tmp_path_factory.mktemp("conformance") / "model")


@pytest.fixture(scope="module")
def own_figures(data, model):
    """What a whole exam of this model gives, by an independent way."""
    vlm = tiny.VLM.load(str(model), dtype="float32")
    config = EvaluationConfig(protocol="published", **KEYS)
    answers = Exam(vlm, load(data, 15), (), config).examine(vlm).assign(method="own", modality="", seed=0)
    found = {(cell.set, cell.task, cell.input, cell.metric): cell.value for cell in cells(answers)}
    return {name: found[name] for name in MEASURED}


@pytest.fixture
def write(tmp_path):
    def written(figures, **changes):
        stored = [
            dict(zip(("set", "task", "input", "metric"), name, strict=True))
            | {"value": value, "tolerance": 1e-6, "source": "this test"}
            for name, value in figures.items()
        ]
        path = tmp_path / "expected.toml"
        content = {"forget_percent": 15, "figure": stored, "evaluation": KEYS} | changes
        path.write_text(tomli_w.dumps({key: value for key, value in content.items() if value is not None}))
        return path

    return written


def test_a_model_that_comes_without_a_processor_takes_that_of_another(
    data, model, own_figures, write, tmp_path, capsys
):
    bare = tmp_path / "bare"
    shutil.copytree(model, bare, ignore=shutil.ignore_patterns("processor_config.json", "tokenizer*", "chat_template*"))
    words = ["conformance", str(bare), "--data", str(data), "--expected", str(write(own_figures))]
    assert main(words) == 2
    assert "set model.processor to a model whose processor fits" in capsys.readouterr().err
    assert main([*words, "--processor", str(model)]) == 0


def test_a_model_with_its_own_figures_passes(data, model, own_figures, write, capsys):
    path = write(own_figures)
    assert [row.verdict for row in check_conformance(str(model), str(data), path)] == ["pass", "pass"]
    assert main(["conformance", str(model), "--data", str(data), "--expected", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.count("pass") == 2
    assert "this test" in printed


def test_one_wrong_figure_fails_and_is_exit_code_1(data, model, own_figures, write, capsys):
    wrong = own_figures | {MEASURED[0]: own_figures[MEASURED[0]] + 0.01}
    assert main(["conformance", str(model), "--data", str(data), "--expected", str(write(wrong))]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "this test" in line]
    assert ["fail" in line for line in lines] == [True, False]
    assert f"{own_figures[MEASURED[0]]:.4f}" in lines[0]


def test_only_what_is_compared_is_asked(data, model, own_figures, write, monkeypatch):
    asked = []
    examine = Exam.examine

    def counted(self, *arguments, **options):
        asked.extend(item.cell for group in self.prompt_groups for item in group.items)
        return examine(self, *arguments, **options)

    monkeypatch.setattr(Exam, "examine", counted)
    check_conformance(str(model), str(data), write(own_figures))
    assert set(asked) == {name[:3] for name in MEASURED}


def test_the_shipped_figures_are_those_of_the_published_protocol():
    stored = read_expected(EXPECTED)
    assert stored.evaluation == EvaluationConfig(protocol="published")
    assert stored.forget_percent == 5
    known = {(f.set, f.task, f.input): f.value for f in stored.figures}
    assert known["forget", "generation", "image"] == 0.5708
    assert known["retain", "generation", "image"] == 0.4939
    assert all(figure.tolerance > 0 and figure.source for figure in stored.figures)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"figure": None}, "holds no figure"),
        ({"figure": []}, "holds no figure"),
        ({"forget_percent": None}, "forget_percent: missing"),
        ({"person": 3}, "person: unknown option"),
        ({"evaluation": {"parsr": "strict"}}, "evaluation.parsr: unknown option; did you mean 'parser'"),
    ],
)
def test_a_file_of_figures_that_cannot_be_used_says_why(write, changes, message):
    with pytest.raises(ConfigError, match=message):
        read_expected(write({MEASURED[0]: 0.5}, **changes))


def test_a_figure_of_a_wrong_kind_says_which(write):
    path = write({MEASURED[0]: 0.5})
    content = tomllib.loads(path.read_text())
    content["figure"][0]["set"] = "forgotten"
    path.write_text(tomli_w.dumps(content))
    with pytest.raises(ConfigError, match=r"figure 1\.set: must be 'forget', 'test', 'retain' or 'celebrity'"):
        read_expected(path)


def test_a_metric_that_is_not_measured_is_an_error(data, model, write):
    with pytest.raises(DataError, match="accuracy of forget, generation, text"):
        check_conformance(str(model), str(data), write({("forget", "generation", "text", "accuracy"): 0.5}))


def test_no_file_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_expected(tmp_path / "absent.toml")
