"""Preparation of the process that measuring ones are forked from: import everything and hide it from the collector."""

import gc

import peft  # noqa: F401
import transformers.models.llava.modeling_llava  # noqa: F401

import benchmarks.works  # noqa: F401

gc.freeze()
