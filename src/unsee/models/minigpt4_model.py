"""MiniGPT-4 in the classes of transformers: EVA vision tower, one linear projection, Llama decoder.

There are two variants, and `qformer_config` tells them apart. Without a Q-Former (Llama-2), four neighbouring patches
become one token. With it (Vicuna), a fixed number of learnt queries read the patches.
Source: arXiv:2304.10592 and its published code.
Shape letters: B images, P patches, F width of an image token before the projection, D width of the decoder.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForImageTextToText,
    Blip2QFormerConfig,
    Blip2QFormerModel,
    Blip2VisionConfig,
    Blip2VisionModel,
    Cache,
    GenerationMixin,
    PreTrainedConfig,
    PreTrainedModel,
    initialization,
)
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.modeling_utils import slice_logits_to_keep


class MiniGPT4Config(PreTrainedConfig):
    """Sizes of a MiniGPT-4.

    Attributes:
        vision_config: sizes of the tower; the published ones by default.
        qformer_config: sizes of the Q-Former, or None for the variant that joins neighbouring patches.
        text_config: sizes of the decoder.
        num_query_tokens: image tokens of a Q-Former.
        patches_per_token: neighbouring patches joined into one image token, without a Q-Former.
        vision_norm_eps: epsilon of the final norm of the tower; that of the tower's blocks is a tenth of it.
        image_token_id: id of the image placeholder. The decoder never sees it, so it may lie outside the vocabulary.
    """

    model_type = "minigpt4"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "vision_config": Blip2VisionConfig,
        "qformer_config": SubConfigSpec(Blip2QFormerConfig, optional=True),
        "text_config": SubConfigSpec(AutoConfig, model_type="llama"),
    }

    vision_config: Any = None
    qformer_config: Any = None
    text_config: Any = None
    num_query_tokens: int = 32
    patches_per_token: int = 4
    vision_norm_eps: float = 1e-5
    image_token_id: int = 32000
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Fill in the configurations of the parts and check that they fit.

        Raises:
            ValueError: the patches cannot be joined evenly, or the Q-Former reads another width than the tower writes.
        """
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        qformer = self.qformer_config
        if qformer is None and self.num_patches % self.patches_per_token:
            raise ValueError(f"{self.num_patches} patches cannot be joined by {self.patches_per_token}")
        if qformer is not None and qformer.encoder_hidden_size != self.vision_config.hidden_size:
            written = self.vision_config.hidden_size
            raise ValueError(f"the Q-Former reads {qformer.encoder_hidden_size} features, the tower writes {written}")

    @property
    def num_patches(self) -> int:
        """Number of patches of an image."""
        return int(self.vision_config.image_size // self.vision_config.patch_size) ** 2

    @property
    def num_image_tokens(self) -> int:
        """Number of tokens that an image takes in a prompt."""
        return self.num_query_tokens if self.qformer_config else self.num_patches // self.patches_per_token

    @property
    def image_token_size(self) -> int:
        """Width of an image token before the projection."""
        if self.qformer_config:
            return int(self.qformer_config.hidden_size)
        return int(self.vision_config.hidden_size) * self.patches_per_token


class MiniGPT4VisionTower(nn.Module):
    """The frozen vision part of MiniGPT-4: pixels in, image tokens (B, tokens, F) out."""

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__()
        self.patches_per_token = config.patches_per_token
        self.vision_model = Blip2VisionModel(config.vision_config)
        self.vision_model.post_layernorm.eps = config.vision_norm_eps
        self.qformer: Blip2QFormerModel | None = None
        self.query_tokens: nn.Parameter | None = None
        if config.qformer_config is not None:
            self.qformer = Blip2QFormerModel(config.qformer_config)
            self.query_tokens = nn.Parameter(torch.zeros(1, config.num_query_tokens, config.image_token_size))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Return image tokens before the projection, (B, tokens, F)."""
        patches_BPF: Tensor = self.vision_model(pixel_values=pixel_values).last_hidden_state
        if self.qformer is None or self.query_tokens is None:
            batch, num_with_class, width = patches_BPF.shape
            num_tokens = (num_with_class - 1) // self.patches_per_token
            return patches_BPF[:, 1:].reshape(batch, num_tokens, self.patches_per_token * width)
        queries = self.query_tokens.expand(len(patches_BPF), -1, -1)
        read: Tensor = self.qformer(query_embeds=queries, encoder_hidden_states=patches_BPF).last_hidden_state
        return read


class MiniGPT4PreTrainedModel(PreTrainedModel):
    """Settings and initialisation that both classes of the family share."""

    config_class = MiniGPT4Config
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012  (as transformers declares it, here and below)
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)  # type: ignore[no-untyped-call]
        if isinstance(module, MiniGPT4VisionTower) and module.query_tokens is not None:
            initialization.normal_(module.query_tokens, std=self.config.qformer_config.initializer_range)


class MiniGPT4Model(MiniGPT4PreTrainedModel):
    """Tower, projection and decoder, without the head."""

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__(config)
        self.vision_tower = MiniGPT4VisionTower(config)
        self.language_projection = nn.Linear(config.image_token_size, config.text_config.hidden_size)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_image_features(self, pixel_values: Tensor) -> BaseModelOutputWithPooling:
        """Return image tokens before the projection (`last_hidden_state`) and after it (`pooler_output`)."""
        tokens_BTF = self.vision_tower(pixel_values)
        return BaseModelOutputWithPooling(tokens_BTF, self.language_projection(tokens_BTF))

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """Return the hidden states of the decoder.

        Raises:
            ValueError: not exactly one of ids and embeddings is given, or the number of placeholders in the ids differs
                from the number of image tokens.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        if input_ids is not None:
            inputs_embeds = self._embed(input_ids, pixel_values)
        elif pixel_values is not None:
            raise ValueError("pixel_values need input_ids, which say where the images are")
        output: BaseModelOutputWithPast = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        return output

    def _embed(self, input_ids: Tensor, pixel_values: Tensor | None) -> Tensor:
        """Return the embedded text, with image tokens in place of the placeholders, in order."""
        is_image = input_ids == self.config.image_token_id
        embeds: Tensor = self.get_input_embeddings()(input_ids.masked_fill(is_image, 0))
        num_placeholders = int(is_image.sum())
        if pixel_values is None:
            images = embeds.new_empty(0, embeds.shape[-1])
        else:
            images = self.get_image_features(pixel_values).pooler_output.flatten(0, 1).to(embeds.device, embeds.dtype)  # type: ignore[union-attr]
        if num_placeholders != len(images):
            raise ValueError(f"the prompts hold {num_placeholders} image tokens, the images fill {len(images)}")
        return embeds.masked_scatter(is_image[..., None], images)


class MiniGPT4ForConditionalGeneration(MiniGPT4PreTrainedModel, GenerationMixin):
    """MiniGPT-4 with the language model head."""

    _tied_weights_keys = {"lm_head.weight": "model.language_model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: MiniGPT4Config) -> None:
        super().__init__(config)
        self.model = MiniGPT4Model(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        self.post_init()  # type: ignore[no-untyped-call]

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        head: nn.Module = self.lm_head
        return head

    def get_image_features(self, pixel_values: Tensor) -> BaseModelOutputWithPooling:
        """Return the same as `MiniGPT4Model.get_image_features`."""
        features: BaseModelOutputWithPooling = self.model.get_image_features(pixel_values)
        return features

    def forward(
        self,
        input_ids: Tensor | None = None,
        pixel_values: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Return the logits of the next token, and the mean loss if `labels` are given (-100: not a target)."""
        output = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            **kwargs,
        )
        logits = self.lm_head(slice_logits_to_keep(output.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


AutoConfig.register(MiniGPT4Config.model_type, MiniGPT4Config)
AutoModel.register(MiniGPT4Config, MiniGPT4Model)
AutoModelForImageTextToText.register(MiniGPT4Config, MiniGPT4ForConditionalGeneration)
