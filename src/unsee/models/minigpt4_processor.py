"""MiniGPT-4's processor: pictures to pixels, conversations to tokens.

The published code splits a conversation at images and answers and tokenizes each piece on its own, so every piece
starts with the tokenizer's word-start space. `llama_tokenizer` rebuilds a Llama tokenizer that gives the same tokens in
one call: the image placeholder, the start token and the mark before an answer split the text, and each piece gets the
space.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, normalizers, pre_tokenizers
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    BlipImageProcessorPil,
    PreTrainedTokenizerFast,
    ProcessorMixin,
)

from unsee.core.errors import ModelError
from unsee.models.minigpt4_model import MiniGPT4Config

IMAGE_TOKEN = "<ImageHere>"
WORD_START = "\u2581"  # a space in a sentencepiece vocabulary
IMAGE_SYSTEM = (
    "Give the following image: <Img>ImageContent</Img>. "
    "You will be able to see the image once I provide it to you. Please answer my questions."
)
_TURNS = (
    "{%- macro said(content) -%}"
    "{%- if content is string -%}{{ content }}{%- else -%}{%- for part in content -%}"
    "{{ '<Img>" + IMAGE_TOKEN + "</Img> ' if part['type'] == 'image' else part['text'] }}"
    "{%- endfor -%}{%- endif -%}"
    "{%- endmacro -%}"
    "{%- set state = namespace(system='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['content'] is not string and message['content'] | selectattr('type', 'equalto', 'image') | list -%}"
    "{%- set state.system = '" + IMAGE_SYSTEM + "' -%}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set state.system = said(messages[0]['content']) -%}{%- set messages = messages[1:] -%}"
    "{%- endif -%}"
)


@dataclass(frozen=True)
class Chat:
    """The chat format of a decoder.

    Attributes:
        template: the Jinja template of a conversation.
        answer_mark: the text right before every answer.
    """

    template: str
    answer_mark: str


LLAMA2 = Chat(
    _TURNS + "{{ '<s>' + state.system if state.system }}"
    "{%- for message in messages -%}"
    "{{ '<s>[INST] ' + said(message['content']) + ' [/INST] ' if message['role'] == 'user' else "
    "said(message['content']) + '</s>' }}"
    "{%- endfor -%}",
    answer_mark="[/INST] ",
)
VICUNA = Chat(
    _TURNS + "{{ '<s>' + state.system + '###' }}"
    "{%- for message in messages -%}"
    "{{ ('Human: ' if message['role'] == 'user' else 'Assistant: ') + said(message['content']) + '###' }}"
    "{%- endfor -%}"
    "{{ 'Assistant: ' if add_generation_prompt }}",
    answer_mark="###Assistant: ",
)


class MiniGPT4ImageProcessor(BlipImageProcessorPil):
    """Image processor that resizes the whole picture to a square and then converts it to RGB.

    In this order the colours of a palette are not blended.
    """

    size = {"height": 224, "width": 224}  # noqa: RUF012  (transformers expects a plain class attribute)

    def process_image(self, image: Any, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return the picture as an array (C, H, W), 0 to 255."""
        if isinstance(image, Image.Image):
            square = image.resize((self.size["width"], self.size["height"]), self.resample)
            image = square.convert("RGB")
        array: np.ndarray = super().process_image(image, *args, **kwargs)
        return array


class MiniGPT4Processor(ProcessorMixin):
    """Processor of pictures and conversations in which every picture takes the same number of tokens."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        num_image_tokens: int = 64,
        chat_template: str | None = None,
        image_token: str = IMAGE_TOKEN,
    ) -> None:
        self.num_image_tokens = num_image_tokens
        self.image_token = image_token
        self.image_token_id = tokenizer.convert_tokens_to_ids(image_token)
        super().__init__(image_processor, tokenizer, chat_template=chat_template)  # type: ignore[no-untyped-call]

    def replace_image_token(self, image_inputs: Mapping[str, Any], image_idx: int, **kwargs: Any) -> str:
        """Return the placeholders of one picture."""
        return self.image_token * self.num_image_tokens


def llama_tokenizer(tokenizer: PreTrainedTokenizerFast, answer_mark: str) -> PreTrainedTokenizerFast:
    """Return a Llama tokenizer that tokenizes as the published code does, with a placeholder for images.

    It adds no start token, because the chat templates write it.

    Args:
        tokenizer: the tokenizer of the language model.
        answer_mark: the text before every answer, with its final space.

    Raises:
        ModelError: it is not a sentencepiece tokenizer, or has no start or end token.
    """
    backend = Tokenizer(tokenizer.backend_tokenizer.model)
    if backend.token_to_id(WORD_START) is None or None in (tokenizer.bos_token, tokenizer.eos_token):
        raise ModelError("the language model's tokenizer is not Llama's")
    added = sorted(tokenizer.added_tokens_decoder.items())
    backend.add_special_tokens([AddedToken(token.content, special=True, normalized=False) for _, token in added])
    mark = answer_mark.replace(" ", WORD_START)
    before_an_answer = Regex(rf"(?<={re.escape(mark)})(?=[\s\S])")
    backend.normalizer = normalizers.Sequence(
        [
            normalizers.Prepend(WORD_START),
            normalizers.Replace(" ", WORD_START),
            normalizers.Replace(before_an_answer, WORD_START),
        ]
    )
    backend.pre_tokenizer = pre_tokenizers.Split(mark, "merged_with_previous")
    backend.decoder = tokenizer.backend_tokenizer.decoder
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=tokenizer.bos_token,
        eos_token=tokenizer.eos_token,
        unk_token=tokenizer.unk_token,
        pad_token=tokenizer.unk_token,
        extra_special_tokens={"image_token": IMAGE_TOKEN},
        model_max_length=tokenizer.model_max_length,
        clean_up_tokenization_spaces=False,
    )


AutoImageProcessor.register(MiniGPT4Config, image_processor_classes={"pil": MiniGPT4ImageProcessor})
AutoProcessor.register(MiniGPT4Config, MiniGPT4Processor)
