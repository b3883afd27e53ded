"""What processes that measure are forked from: everything is imported, and collecting garbage walks over none of it."""

import gc

import peft  # noqa: F401
import transformers.models.llava.modeling_llava  # noqa: F401

import benchmarks.works  # noqa: F401

gc.freeze()
