"""What a deletion request takes where nothing is said."""

import pytest

from unsee.config.recipe import dump_config, resolve
from unsee.methods import METHODS
from unsee.runs.deletion import (
    ADAPTER_LEARNING_RATE,
    DEFAULT_METHOD,
    ONE_STRANGER,
    RequestConfig,
    settled_methods,
)


def settled(*changes, method=DEFAULT_METHOD):
    request = {"forget": "f", "retain": "r", "method": {method: {"modality": ["both"]}}}
    config = resolve(RequestConfig, request, changes)
    config = config.model_copy(update={"method": settled_methods(config)})
    dump_config(config)  # can be written, too
    return config.method[method].options


def test_adapters_learn_at_a_rate_of_their_own():
    assert settled("model.trainable=lora") == ONE_STRANGER | {"learning_rate": ADAPTER_LEARNING_RATE}
    assert METHODS.get(DEFAULT_METHOD)().learning_rate < ADAPTER_LEARNING_RATE
    assert settled() == ONE_STRANGER


@pytest.mark.parametrize("trainable", ["full", "lora"])
def test_an_option_that_is_given_stays(trainable):
    changes = [f"method.{DEFAULT_METHOD}.{option}" for option in ("learning_rate=2e-4", "num_others=2")]
    assert settled(f"model.trainable={trainable}", *changes) == ONE_STRANGER | {"learning_rate": 2e-4, "num_others": 2}


def test_other_methods_keep_their_defaults():
    assert settled("model.trainable=lora", method="npo") == {}
