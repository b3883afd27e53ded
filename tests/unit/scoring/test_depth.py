"""The unlearning depth score of planted losses: the target 0, the oracle 1, and what lies between."""

import pandas as pd
import pytest

from unsee.scoring.depth import depths
from unsee.scoring.memorisation import measures

GAPS = (0.01, 0.5, 1.5)
"""What the oracle's states lack in each layer; the first is below what counts."""


def patched(method, share, modality="", people=6, gaps=GAPS):
    """Losses of a model whose states lack a share of what the oracle's lack."""
    shares = share if isinstance(share, tuple) else (share,) * len(gaps)
    return pd.DataFrame(
        {"set": "forget", "unit": f"{unit:03}", "input": "text", "question": f"{unit}-{question}", "kind": "patched",
         "layer": layer, "loss": 0.1 + own * gap, "method": method, "modality": modality, "seed": 0}
        for unit in range(people) for question in range(2)
        for layer, (own, gap) in enumerate(zip(shares, gaps, strict=True))
    )  # fmt: skip


CONTROLS = [patched("do_nothing", 0.0), patched("oracle", 1.0)]


def found(*models, controls=CONTROLS):
    listed = depths(pd.concat([*controls, *models], ignore_index=True), num_resamples=50)
    assert {one.name for one in listed} <= {"unlearning depth (UDS)"}
    return {(one.method, one.modality): one.value.value for one in listed}


def test_the_target_has_none_of_it_and_the_oracle_all():
    assert found() == {("do_nothing", ""): pytest.approx(0), ("oracle", ""): pytest.approx(1)}


@pytest.mark.parametrize(
    ("share", "depth"),
    [(0.5, 0.5), (2.0, 1.0), (-1.0, 0.0), ((9.0, 0.0, 1.0), 0.75), ((0.0, 1.0, 0.0), 0.25)],
)
def test_layers_count_by_what_the_oracle_lacks_there(share, depth):
    assert found(patched("npo", share, "both"))["npo", "both"] == pytest.approx(depth)


def test_where_the_oracle_lacks_nothing_nothing_can_be_said():
    assert found(controls=[patched("do_nothing", 0.0), patched("oracle", 0.1, gaps=(0.4, 0.4, 0.4))]) == {}
    assert found(controls=CONTROLS[:1]) == found(controls=CONTROLS[1:]) == {}


def test_it_is_one_of_the_measures_also_alone():
    (target, oracle) = measures(pd.concat(CONTROLS, ignore_index=True), num_resamples=50)
    assert (target.value.value, oracle.value.value) == (pytest.approx(0), pytest.approx(1))
