"""Loading processors without their video parts, which need libraries that nothing here uses."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING
from transformers.video_processing_utils import BaseVideoProcessor

VIDEO = "video_processor"


def load_processor(source: str, config: PreTrainedConfig) -> ProcessorMixin:
    """Load the processor of a folder or a hub id, without its video part.

    Settings that an older transformers did not save are taken from the model's configuration.
    """
    kind: Any = PROCESSOR_MAPPING.get(type(config), ProcessorMixin)
    processor: ProcessorMixin
    if VIDEO in kind.get_attributes():
        processor = without_video(kind).from_pretrained(source)
        with suppress(OSError):  # it has none
            vars(processor)["video_settings"] = BaseVideoProcessor.get_video_processor_dict(source)[0]
    else:
        processor = AutoProcessor.from_pretrained(source)
    _complete(processor, config)
    return processor


def _complete(processor: ProcessorMixin, config: PreTrainedConfig) -> None:
    """Set what counts the tokens of an image, where the processor's files do not say it."""
    vision = getattr(config, "vision_config", None)
    size, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    known = {
        "patch_size": patch,
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", None),
        "num_image_tokens": (size // patch) ** 2
        if isinstance(size, int) and isinstance(patch, int) and patch
        else None,
    }
    for name, value in known.items():
        if value is not None and getattr(processor, name, "") is None:
            setattr(processor, name, value)
    # A tower of CLIP has a class token, which processors were not told of; 0 is also their default.
    if getattr(processor, "num_additional_image_tokens", None) == 0:
        processor.num_additional_image_tokens = int(getattr(vision, "model_type", "") == "clip_vision_model")  # type: ignore[attr-defined]


def without_video(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return a subclass that treats pictures the same and takes no videos.

    It is saved under the original name, with the settings of its video part, so that it is loaded whole elsewhere.
    """

    class WithoutVideo(kind):  # type: ignore[misc, valid-type]
        video_settings: dict[str, Any] = {}  # noqa: RUF012 (an empty one lets transformers take its defaults)

        @classmethod
        def get_attributes(cls) -> list[str]:
            return [name for name in super().get_attributes() if name != VIDEO]

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            return [*super()._get_arguments_from_pretrained(*args, **kwargs), None]

        @classmethod
        def from_args_and_dict(cls, args: list[Any], processor_dict: dict[str, Any], **kwargs: Any) -> Any:
            known = {name: value for name, value in processor_dict.items() if name != VIDEO}
            return super().from_args_and_dict(args, known, **kwargs)

        def to_dict(self) -> dict[str, Any]:
            settings = {name: value for name, value in super().to_dict().items() if name != "video_settings"}
            return settings | {VIDEO: self.video_settings}

        def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:
            return ProcessorMixin.apply_chat_template(self, *args, **kwargs)

    WithoutVideo.__name__, WithoutVideo.__qualname__, WithoutVideo.__module__ = (
        kind.__name__,
        kind.__qualname__,
        kind.__module__,
    )
    return WithoutVideo
