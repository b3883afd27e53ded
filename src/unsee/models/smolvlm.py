"""SmolVLM: a small Idefics3 (`SmolVLMForConditionalGeneration`). Its video input is not used here."""

from __future__ import annotations

from unsee.models import MODELS
from unsee.models.idefics3 import Idefics3


@MODELS.register("smolvlm", paper="arXiv:2504.05299")
class SmolVLM(Idefics3):
    """Idefics3's tiles for a small Llama decoder (its processor needs the package num2words)."""
