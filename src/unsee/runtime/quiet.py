"""Turns off what other libraries print beside the program's own output."""

from __future__ import annotations

import warnings

from transformers import modeling_gguf_pytorch_utils
from transformers.utils import logging as transformers_logging


def hush() -> None:
    """Turn off the bars and the advice of transformers. Downloads from the hub still show their bars."""
    warnings.simplefilter("ignore", FutureWarning)
    transformers_logging.set_tqdm_hook(lambda bar, arguments, options: bar(*arguments, **options | {"disable": True}))
    transformers_logging.set_verbosity_error()
    vars(modeling_gguf_pytorch_utils)["tqdm"] = lambda tensors, desc: tensors  # a bar of its own
