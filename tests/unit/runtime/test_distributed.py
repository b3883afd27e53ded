"""What two processes do together is what one does alone."""

import pandas as pd
import pytest
import together

from unsee.core.errors import ConfigError
from unsee.runtime import distributed as processes

pytestmark = pytest.mark.slow

CLOSE = 1e-5


def close(curve):
    return [pytest.approx(step, abs=CLOSE) for step in curve]


def test_one_process_has_everything():
    assert processes.share([1, 2, 3]) == [1, 2, 3]
    assert processes.union({"a": 1}) == {"a": 1}
    assert processes.state().is_main_process


def test_a_training_that_is_launched_with_deepspeed_is_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match=r"^DeepSpeed is not supported; use FSDP: "):
        together.curve("npo", "lora")


EVERY = tuple(together.OBJECTIVES)


@pytest.mark.parametrize(
    ("objectives", "trainable"),
    [
        (("npo balanced", "mmunlearner"), "full"),
        pytest.param(EVERY[::2], "full", marks=pytest.mark.soak),
        pytest.param(EVERY[1::2], "lora", marks=pytest.mark.soak),
    ],
    ids=["some", "half of all", "the other half"],
)
def test_two_processes_have_the_losses_of_one_whatever_is_minimised(objectives, trainable):
    alone = together.curves(objectives, trainable)
    first, second = together.together(2, together.curves, objectives, trainable)
    for name, curve in alone.items():
        assert len(curve) == together.STEPS
        assert curve[0] != curve[-1]
        assert first[name] == close(curve), name
        assert second[name] == close(curve), name


@pytest.mark.soak
@pytest.mark.parametrize(("objective", "trainable"), [("npo", "lora"), ("kl_minimisation", "full")])
def test_two_processes_with_divided_weights_have_the_losses_of_one(tmp_path, objective, trainable):
    alone = together.curve(objective, trainable)
    checkpoint = tmp_path / "state.safetensors"
    started = together.together(2, together.divided, together.curve, objective, trainable, 5, checkpoint, 3)
    assert started == [close(alone[:3])] * 2
    resumed = together.together(2, together.divided, together.curve, objective, trainable, 5, checkpoint)
    assert resumed == [close(alone[2:])] * 2


def test_a_process_without_a_row_of_its_own_changes_nothing():
    alone = together.curve("npo", "full", 1)
    assert together.together(2, together.curve, "npo", "full", 1) == [close(alone)] * 2


@pytest.mark.parametrize(("before", "after"), [(2, 1), pytest.param(1, 2, marks=pytest.mark.soak)])
def test_a_training_goes_on_with_another_number_of_processes(tmp_path, before, after):
    alone = together.curve("npo", "full")
    checkpoint = tmp_path / "state.safetensors"
    started = together.together(before, together.curve, "npo", "full", 5, checkpoint, 3)[0]
    assert [step["step"] for step in started] == [0, 1, 2]
    assert checkpoint.is_file()
    resumed = together.together(after, together.curve, "npo", "full", 5, checkpoint)[0]
    assert resumed == close(alone[2:])
    assert {path.name for path in tmp_path.iterdir()} == set()


def test_two_processes_answer_an_exam_as_one_does():
    alone = together.answers()
    for shared in together.together(2, together.answers):
        pd.testing.assert_frame_equal(shared, alone, check_exact=True)
