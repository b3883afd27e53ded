import pytest
import torch

from unsee.attacks import ATTACKS

QUANTISE = ATTACKS.get("quantise")
STEPS = {"8 bits": 127, "4 bits": 7}
NF4 = torch.tensor(
    [-1.0, -0.6961928, -0.5250731, -0.3949175, -0.2844414, -0.1847734, -0.0910500, 0.0,
     0.0795803, 0.1609302, 0.2461123, 0.3379152, 0.4407098, 0.5626170, 0.7229568, 1.0]
)  # fmt: skip
VARIANTS = ["8 bits", "4 bits", "NF4"]


def weight(rows=5, width=40):
    return torch.randn(rows, width) * torch.rand(rows, 1)


def groups(attack, weight_OI):
    """The weights of each group in a row of its own, and the largest of them; short groups one by one."""
    for part in weight_OI.split(attack.group, 1):
        yield part, part.abs().amax(1, keepdim=True)


@pytest.mark.parametrize("width", [40, 16, 5])
@pytest.mark.parametrize("variant", STEPS)
def test_every_weight_is_on_the_grid_of_its_group_and_moved_half_a_step_at_most(variant, width):
    attack, before = QUANTISE(group=16), weight(width=width)
    after = attack.change(variant, before)
    assert after.shape == before.shape and after.dtype == before.dtype
    for (old, largest), (new, _) in zip(groups(attack, before), groups(attack, after), strict=True):
        step = largest / STEPS[variant]
        torch.testing.assert_close(new / step, (new / step).round(), atol=1e-4, rtol=0)
        assert ((new - old).abs() <= step * 0.50001).all()
        torch.testing.assert_close(new.abs().amax(1, keepdim=True), largest)


def test_nf4_takes_the_nearest_of_its_16_values():
    attack, before = QUANTISE(group=16), weight(rows=40)
    after = attack.change("NF4", before)
    used = set()
    for (old, largest), (new, _) in zip(groups(attack, before), groups(attack, after), strict=True):
        nearest = (old[..., None] / largest[..., None] - NF4).abs().argmin(-1)
        torch.testing.assert_close(new, NF4[nearest] * largest)
        used |= set(nearest.flatten().tolist())
    assert used == set(range(16))


@pytest.mark.parametrize("variant", VARIANTS)
def test_rounding_twice_is_rounding_once(variant):
    once = QUANTISE().change(variant, weight())
    assert torch.equal(QUANTISE().change(variant, once), once)


@pytest.mark.parametrize("variant", VARIANTS)
def test_zeros_stay_and_the_type_too(variant):
    assert not QUANTISE().change(variant, torch.zeros(2, 20)).any()
    assert QUANTISE().change(variant, weight().bfloat16()).dtype == torch.bfloat16


def test_more_bits_lose_less():
    before = weight(20, 64)
    lost = {name: float((QUANTISE().change(name, before) - before).square().mean()) for name in VARIANTS}
    assert lost["8 bits"] < lost["NF4"] < lost["4 bits"]
