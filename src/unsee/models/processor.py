"""Loading processors without their video parts, which need libraries that nothing here uses."""

from __future__ import annotations

from typing import Any

from transformers import AutoProcessor, PreTrainedConfig, ProcessorMixin
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

VIDEO = "video_processor"


def load_processor(source: str, config: PreTrainedConfig) -> ProcessorMixin:
    """Load the processor of a folder or a hub id, without its video part."""
    kind: Any = PROCESSOR_MAPPING.get(type(config), ProcessorMixin)
    if VIDEO in kind.get_attributes():
        return without_video(kind).from_pretrained(source)
    processor: ProcessorMixin = AutoProcessor.from_pretrained(source)
    return processor


def without_video(kind: type[ProcessorMixin]) -> type[ProcessorMixin]:
    """Return a subclass that treats pictures the same and takes no videos. It is saved under the original name."""

    class WithoutVideo(kind):  # type: ignore[misc, valid-type]
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

        def apply_chat_template(self, *args: Any, **kwargs: Any) -> Any:
            return ProcessorMixin.apply_chat_template(self, *args, **kwargs)

    WithoutVideo.__name__, WithoutVideo.__qualname__, WithoutVideo.__module__ = (
        kind.__name__,
        kind.__qualname__,
        kind.__module__,
    )
    return WithoutVideo
