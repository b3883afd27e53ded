"""Qwen3-VL: Qwen2.5-VL's patches and positions; image features also enter several layers of a Qwen3 decoder."""

from __future__ import annotations

from unsee.models import MODELS
from unsee.models.qwen2_5_vl import Qwen25VL


@MODELS.register("qwen3_vl", paper="arXiv:2511.21631")
class Qwen3VL(Qwen25VL):
    """Patches at the image's aspect ratio, whose features also enter the first layers of a Qwen3 decoder."""
