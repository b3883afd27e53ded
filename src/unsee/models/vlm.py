"""A vision-language model as the rest of the program sees it: weights, processor and the paths of its parts.

Shape letters: B rows, T tokens, D hidden width, N scored tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel, ProcessorMixin

from unsee.config.arguments import checked
from unsee.config.recipe import ModelConfig
from unsee.core.allocator import keep_freed_memory
from unsee.core.errors import ModelError, UnknownNameError
from unsee.models import MODELS, shipped
from unsee.models.adapter import write_card
from unsee.models.chat_template import CHECKED, ChatTemplate, Template
from unsee.models.family import Family, Layout, Picture
from unsee.models.layers import parse_layers
from unsee.models.load import load_its_processor, load_weights
from unsee.models.load_errors import loading
from unsee.runtime.distributed import entire, state

log = logging.getLogger(__name__)

LoraTargets = Literal["decoder", "decoder+projector", "all_linear"]


@checked("unsee.VLM")
class VLM:
    """A model, its processor and its layout.

    Attributes:
        model: the transformers model; with LoRA the adapters sit inside it.
        processor: tokenizer, image processor and chat template.
        family: the behaviour that differs between model families.
        layout: the paths of its parts.
        chat: the chat template.
        id: the name or folder it was loaded from, for messages and records.
        config: the settings it was loaded with.
        adapter: the peft model around `model`; None without LoRA.
    """

    def __init__(self, model: PreTrainedModel, processor: ProcessorMixin, id: str) -> None:
        self.model = model
        self.processor = processor
        self.id = id
        self.config = ModelConfig(id=id)
        self.adapter: Any = None
        model_type = model.config.model_type
        if model_type not in MODELS.names():
            raise UnknownNameError(f"model {id}: family", model_type, MODELS.names())
        self.family: Family = MODELS.get(model_type)(model, processor)
        self.layout: Layout = self.family.layout
        self.chat = ChatTemplate(self.family, id)

    @classmethod
    @checked("unsee.VLM.load")
    def load(cls, id: str, *, dtype: Literal["auto", "float32", "bfloat16"] = "auto", processor: str = "") -> VLM:
        """Load a model by name; `load_as` does the same with the settings of a recipe.

        Args:
            id: a shipped model ("nano"), a folder in the hub's format, or a hub id.
            dtype: of the weights; "auto" is bfloat16 on a GPU and float32 elsewhere.
            processor: the model whose processor to use, if this one has none.
        """
        return cls.load_as(ModelConfig(id=id, dtype=dtype, processor=processor))

    @classmethod
    def load_as(cls, config: ModelConfig) -> VLM:
        """Load a model onto the device of this process, and try it out.

        Only safetensors are read, and no remote code runs.

        Raises:
            ModelError: the folder has no weights or no processor, or they cannot be read, quantized or used together.
            UnknownNameError: no model has this name, or the family of the model is not supported.
        """
        model = _weights(config)
        vlm = cls(model, load_its_processor(config, model), config.id)
        vlm.config = config
        vlm.chat.check()
        vlm._try_out()
        return vlm

    @torch.no_grad()
    def _try_out(self) -> None:
        """Ask one question about one picture: files may each be right and belong to different models.

        Raises:
            ModelError: the parts of the model do not fit each other.
        """
        with loading(f"model {self.id}: its weights, configuration, tokenizer and processor do not fit together; it"):
            picture = self.picture(Image.new("RGB", (96, 64)))
            (ids,) = self.prompt_ids([CHECKED], picture=picture)
            ids += self.answer_ids(["Yes."])[0]
            embeddings: Any = self.model.get_input_embeddings()
            known, written = len(embeddings.weight), max(id for id in ids if id != self.family.image_token)
            if written >= known:  # the token of an image may lie beyond: its embedding is replaced
                raise ModelError(f"the tokenizer writes token {written}, and the model knows {known}")
            seen = {name: tensor.to(self.device) for name, tensor in self.family.image_inputs([[picture]]).items()}
            positions = self.family.positions(ids, [picture])
            places = (positions if len(positions) == 1 else positions[:, None]).to(self.device)
            states = self.hidden({"input_ids": torch.tensor([ids], device=self.device), "position_ids": places, **seen})
        if not states.isfinite().all():
            raise ModelError(f"model {self.id}: computes numbers that are not finite; its weights are damaged")

    def save(self, folder: Path, base: str = "") -> None:
        """Write the model (with LoRA only the adapter), the processor and the chat template in the hub's format.

        Args:
            folder: the folder to write.
            base: the model that an adapter belongs to, a folder relative to `folder`; by default the loaded model.
        """
        if self.adapter is None:
            self.model.save_pretrained(folder)
        else:
            own = Path(self.config.id)
            base = base or (str(own.resolve()) if own.is_dir() and self.config.id not in shipped() else self.config.id)
            self.adapter.active_peft_config.base_model_name_or_path = base
            self.adapter.save_pretrained(folder, save_embedding_layers=False)  # "auto" would ask the hub for the base
            write_card(folder, base)
        self.processor.save_pretrained(folder)

    def reload(self) -> None:
        """Load the weights again and drop adapters."""
        del self.model, self.adapter, self.family.model  # so that memory never holds two models
        self.model = self.family.model = _weights(self.config, again=True)
        self.adapter = None

    def untrained(self, seed: int = 0) -> VLM:
        """Return a model of the same architecture with random weights and the same processor."""
        torch.manual_seed(seed)
        model = type(self.model)(self.model.config).to(self.device, self.model.dtype)  # type: ignore[arg-type]
        made = VLM(model.eval(), self.processor, self.id)
        made.chat.check()
        return made

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return next(self.model.parameters()).device

    @property
    def end_token(self) -> int:
        """The tokenizer's end-of-sequence token."""
        return int(self.processor.tokenizer.eos_token_id)

    @cached_property
    def end_tokens(self) -> list[int]:
        """Tokens that end an answer: the tokenizer's, those of the generation config, and the chat template's."""
        own = self.model.generation_config.eos_token_id
        taught = self.answer_ids([""])[0][-1]
        return sorted({self.end_token, taught, *(own if isinstance(own, list) else [own] if own is not None else [])})

    @property
    def pad_token(self) -> int:
        """The token that pads rows; the end token if the tokenizer has no padding token."""
        token = self.processor.tokenizer.pad_token_id
        return self.end_token if token is None else int(token)

    def template(self, *, with_image: bool, system: str | None = None) -> Template:
        """Return the chat template around one question and its answer."""
        return self.chat.around(with_image=with_image, system=system)

    def picture(self, image: Image.Image) -> Picture:
        """Return the image preprocessed for the model."""
        return self.family.picture(image)

    def text_ids(self, text: str, pictures: Sequence[Picture] = ()) -> list[int]:
        """Return the token ids of a rendered prompt, with its image placeholders filled by the pictures in order.

        If the tokenizer adds a start token and the text has none, it is added.

        Raises:
            ModelError: there are more placeholders than pictures, or fewer.
        """
        return self.texts_ids([text], pictures)[0]

    def texts_ids(self, texts: Sequence[str], pictures: Sequence[Picture] = ()) -> list[list[int]]:
        """Return the token ids of several rendered prompts, each about the same pictures."""
        rows = self._tokens([self.family.write_out(text, pictures) for text in texts])
        start, image = self._start, self.family.image_token
        if start:
            rows = [row if row[:1] == start else [*start, *row] for row in rows]
        if not pictures:
            return rows
        runs = [run for picture in pictures for run in picture.runs]
        lengths = [iter(runs) for _ in rows]
        return [
            [token for once in row for token in ([once] * next(length) if once == image else [once])]
            for row, length in zip(rows, lengths, strict=True)
        ]

    @cached_property
    def _start(self) -> list[int]:
        """The start token if the tokenizer adds one, else nothing."""
        tokenizer = self.processor.tokenizer
        return [tokenizer.bos_token_id] if tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id] else []

    def prompt_ids(
        self, questions: Sequence[str], *, picture: Picture | None = None, system: str | None = None
    ) -> list[list[int]]:
        """Return the token ids of chat prompts, one per question, each with the picture if one is passed."""
        template = self.template(with_image=picture is not None, system=system)
        texts = [template.before + question + template.between for question in questions]
        return self.texts_ids(texts, [picture] if picture else [])

    def answer_ids(self, answers: Sequence[str], *, end: bool = True) -> list[list[int]]:
        """Return the token ids of answers as the model would write them after a prompt, with the end token if `end`.

        Raises:
            ModelError: the tokenizer joins the end of the prompt and the start of an answer into one token.
        """
        template = self.template(with_image=False)
        texts = [template.between + template.lead + answer + (template.after if end else "") for answer in answers]
        before, *rows = self._tokens([template.between, *texts])
        if any(row[: len(before)] != before for row in rows):
            raise ModelError(f"model {self.id}: its tokenizer joins the end of the prompt and the start of an answer")
        return [row[len(before) :] for row in rows]

    def decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """Return the text of each row, without special tokens."""
        if not rows:
            return []  # transformers returns one empty text for no rows
        texts: list[str] = self.processor.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [text.strip() for text in texts]

    def room(self, max_new_tokens: int) -> int:
        """Return the largest number of tokens of a prompt that leaves the context room for an answer."""
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", sys.maxsize)
        return int(context) - max_new_tokens

    def head(self) -> nn.Module:
        """Return the module that maps hidden states to logits."""
        head: nn.Module | None = self.model.get_output_embeddings()
        if head is None:
            raise ModelError(f"model {self.id}: has no output embeddings")
        return head

    def hidden(self, inputs: dict[str, Any]) -> Tensor:
        """Return the hidden states of the last layer, (B, T, D), which `head` maps to logits."""
        output: Tensor = self.model.model(**inputs, use_cache=False).last_hidden_state
        return output

    def train_language(self) -> list[nn.Parameter]:
        """Prepare full fine-tuning of decoder and projector (not the vision tower); return the parameters to train."""
        self.model.requires_grad_(True)
        self.model.get_submodule(self.layout.vision_tower).requires_grad_(False)
        self.model.get_submodule(self.layout.projector).requires_grad_(True)  # in some families a part of the tower
        return self.trainable()

    def add_lora(
        self, rank: int, alpha: int, targets: LoraTargets = "decoder", layers: str = "all", *, dropout: float = 0.0
    ) -> list[nn.Parameter]:
        """Merge an earlier adapter, add new LoRA adapters to linear layers, and return the parameters to train.

        Raises:
            ConfigError: a decoder layer that is named does not exist.
        """
        from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

        self.merge_lora()
        if self.config.quantization == "4bit":
            self.model = prepare_model_for_kbit_training(self.model, use_gradient_checkpointing=False)  # type: ignore[no-untyped-call]
        torch.manual_seed(0)  # so that a run killed before its first checkpoint starts again from the same adapter
        modules = self.lora_modules(targets, layers)
        config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=modules)
        self.adapter = get_peft_model(self.model, config)
        return self.trainable()

    def lora_modules(self, targets: LoraTargets, layers: str = "all") -> list[str]:
        """Return the names of the linear layers that get an adapter.

        Args:
            targets: "decoder", "decoder+projector", or "all_linear". The last, as in the published code, means every
                layer with the last name of a decoder layer, also outside the decoder. In LLaVA these include the
                queries, keys and values of the vision tower.
            layers: the decoder layers among them, as `parse_layers` reads them.

        Raises:
            ConfigError: a decoder layer that is named does not exist.
        """
        inside = f"{self.layout.decoder_layers}."
        count = len(list(self.model.get_submodule(self.layout.decoder_layers).children()))
        chosen = {f"{inside}{layer}." for layer in parse_layers(layers, count, "model.lora_layers")}
        linear = [name for name, part in self.model.named_modules() if isinstance(part, nn.Linear)]
        decoder = [name for name in linear if name.startswith(tuple(chosen))]
        match targets:
            case "decoder":
                return decoder
            case "decoder+projector":
                return decoder + [name for name in linear if name.startswith(self.layout.projector)]
            case "all_linear":
                leaves = {name.rpartition(".")[2] for name in decoder}
                return [
                    name
                    for name in linear
                    if name.rpartition(".")[2] in leaves and (name in decoder or not name.startswith(inside))
                ]

    def merge_lora(self) -> None:
        """Merge the adapter, if there is one, into the weights."""
        if self.adapter is not None:
            self.model = self.adapter.merge_and_unload()
            self.adapter = None

    @contextmanager
    def adapter_off(self) -> Iterator[None]:
        """Switch the adapter off within the block, so that the model is as before `add_lora`."""
        if self.adapter is None:
            raise ModelError(f"model {self.id}: has no adapter to switch off")
        layers = self.adapter.base_model  # faster than peft's context, which walks the whole model first
        layers.disable_adapter_layers()
        try:
            yield
        finally:
            layers.enable_adapter_layers()

    def start_training(self) -> None:
        """Set training mode; a tower or projector that is not trained stays in evaluation mode, without dropout."""
        self.model.train()
        for name in (self.layout.vision_tower, self.layout.projector):
            part = self.model.get_submodule(name)
            if not any(parameter.requires_grad for parameter in part.parameters()):
                part.eval()

    def trainable(self) -> list[nn.Parameter]:
        """Return the parameters that training may change."""
        return [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    @property
    def divided(self) -> bool:
        """True if FSDP divided the weights over processes; then only `reload` makes them usable again."""
        return any(isinstance(parameter, DTensor) for parameter in self.model.parameters())

    def trained(self) -> dict[str, Tensor]:
        """Return the trainable parameters by name, gathered whole on the CPU; every process must call this."""
        parameters = self.model.named_parameters()
        return {name: entire(p).cpu().contiguous() for name, p in parameters if p.requires_grad}

    def load_trained(self, path: Path) -> None:
        """Load trainable parameters by name from a safetensors file.

        Raises:
            ModelError: names or shapes in the file are not those of this model.
        """
        tensors = load_file(path)
        parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        if {n: t.shape for n, t in tensors.items()} != {n: p.shape for n, p in parameters.items()}:
            raise ModelError(f"model {self.id}: {path} holds weights of another model; delete it and run again")
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(tensors[name])

    def fingerprint(self) -> str:
        """Return the SHA-256 of all weights, the chat template and the name of a processor from elsewhere."""
        template = self.template(with_image=True)
        digest = hashlib.sha256(f"{template}{template.lead}{self.config.processor}".encode())
        for name, tensor in sorted(self.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(content(tensor))
        return digest.hexdigest()

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        rows: list[list[int]] = self.processor.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return rows


def _weights(config: ModelConfig, *, again: bool = False) -> PreTrainedModel:
    keep_freed_memory()
    model = load_weights(config, state().device, again=again)  # the device is also set for whatever follows
    if config.gradient_checkpointing:
        model.activation_checkpointing_enable()
    return model


def content(tensor: Tensor) -> bytes:
    """Return the bytes of a tensor's values."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
