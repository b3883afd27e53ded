"""What programs call refuses whatever it cannot use with one sentence."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from pydantic import PositiveInt

import unsee
from unsee.config.arguments import checked
from unsee.core.errors import ConfigError

PUBLIC = {
    **{f"unsee.{name}": getattr(unsee, name) for name in unsee.__all__ if name != "losses"},
    **{f"losses.{name}": getattr(unsee.losses, name) for name in ("Pass", *unsee.losses.names())},
    "unsee.VLM.load": unsee.VLM.load,
    "unsee.Edit.load": unsee.Edit.load,
}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_refuses_what_is_no_argument_of_it(name):
    called = PUBLIC[name]
    parameters = inspect.signature(called).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    with pytest.raises(ConfigError, match=f"^{name}: missing a required argument: '{needed[0]}'"):
        called()
    with pytest.raises(ConfigError, match=f"^{name}: too many positional arguments; its arguments are {needed[0]}"):
        called(*range(20))
    with pytest.raises(ConfigError, match=f"^{name}: {needed[0]} must be of type .*, got a object"):
        called(**dict.fromkeys(needed, object()))
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        with pytest.raises(ConfigError, match=f"^{name}: argument: unknown name '{needed[0]}x'; did you mean"):
            called(**{f"{needed[0]}x": 1})


@checked("here")
def take(
    number: int = 0, share: float = 0.0, path: str | Path = "", names: Sequence[str] = (), count: PositiveInt = 1,
    table: "Mapping[str, int] | None" = None, mode: Literal["a", "b"] = "a", flag: bool = False,
) -> None:  # fmt: skip
    """Take anything that fits."""


@pytest.mark.parametrize(
    "fitting",
    [{"number": np.int64(3)}, {"share": 1}, {"share": np.float32(1)}, {"path": Path()}, {"names": ["a"]},
     {"flag": True}, {"count": np.int64(2)}, {"table": {"a": 1}}, {"table": None}, {"mode": "b"}],
)  # fmt: skip
def test_what_fits_an_annotation_is_passed_on(fitting):
    take(**fitting)


@pytest.mark.parametrize(
    ("wrong", "got"),
    [({"number": True}, "True"), ({"number": 1.0}, "1.0"), ({"share": "1"}, "'1'"), ({"path": None}, "None"),
     ({"names": "a"}, "'a'"), ({"names": [1, None]}, "a list (1, None)"), ({"count": 0}, "0"),
     ({"table": {"a": ()}}, "a dict ('a': an empty tuple)"), ({"mode": "c"}, "'c'"), ({"flag": 1}, "1")],
)  # fmt: skip
def test_what_does_not_fit_is_named(wrong, got):
    with pytest.raises(ConfigError) as raised:
        take(**wrong)
    assert str(raised.value).startswith(f"here: {next(iter(wrong))} must be of type ")
    assert str(raised.value).endswith(f", got {got}")
