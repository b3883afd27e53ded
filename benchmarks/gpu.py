"""Measure unsee on a GPU with large models of random weights in bfloat16: `python -m benchmarks.gpu`.

Each work is done three times: to warm up, timed, and with its operations counted. The table gives tokens per second,
model FLOP utilisation (against the speed of a matrix product on this device, not against its data sheet), and peak
memory including the weights. `--out` writes the table with command, device and versions, again after every work.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers as hf

from benchmarks.limit import machine, product_flops, versions
from benchmarks.material import Material, warm_up
from benchmarks.measure import timed
from benchmarks.published.unlearning import ALPHA, RANK
from unsee.cli.terminal import print_table
from unsee.core.files import write
from unsee.data.people.builder import build
from unsee.models.vlm import VLM
from unsee.nano.language import CHAT_TEMPLATE
from unsee.runtime.distributed import state

PERCENT = 15
WORKS = (
    "evaluate-published", "evaluate-clean", "gradient_ascent", "gradient_difference", "kl_minimisation", "npo", "edit",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a model: decoder, vision tower, picture."""

    width: int = 4096
    inner: int
    layers: int = 32
    heads: int = 32
    groups: int
    vocabulary: int
    vision_width: int
    vision_inner: int
    vision_layers: int
    vision_heads: int = 16
    pixels: int
    patch: int = 14


SHAPES = {
    "llava-1.5-7b": Shape(
        inner=11008, groups=32, vocabulary=32064, vision_width=1024, vision_inner=4096, vision_layers=24, pixels=336
    ),
    "idefics2-8b": Shape(
        inner=14336, groups=8, vocabulary=32003, vision_width=1152, vision_inner=4304, vision_layers=27, pixels=980
    ),
}  # fmt: skip


class GpuRow(NamedTuple):
    """One work of one model, as text."""

    model: str
    work: str
    seconds: str
    tokens_per_second: str
    utilisation: str
    peak_mib: str


@dataclass(frozen=True)
class Built(Material):
    """Material with a model of random weights. `model` is a key of `SHAPES`, or begins with the name of its family."""

    shape: Shape | None = None
    dtype: torch.dtype = torch.bfloat16

    def load(self) -> VLM:
        """Build a new model with random weights on the device."""
        vlm = make(self.model, self.shape or SHAPES[self.model], self.dtype)
        warm_up(vlm)
        return vlm


def make(name: str, shape: Shape, dtype: torch.dtype, device: torch.device | str | None = None) -> VLM:
    """Build a model of a shape with nano's tokenizer. The tokens differ from the real model's, the work does not."""
    tokenizer = VLM.load("nano").processor.tokenizer
    config, processor = (_llava if name.startswith("llava") else _idefics2)(shape, tokenizer)
    kind = hf.AutoModelForImageTextToText
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device or state().device):
            model: Any = kind.from_config(config, dtype=dtype)
    finally:
        torch.set_default_dtype(default)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return VLM(model.eval(), processor, name)


def _text(shape: Shape, tokenizer: Any) -> dict[str, Any]:
    return {
        "vocab_size": max(shape.vocabulary, len(tokenizer)),
        "hidden_size": shape.width,
        "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.groups,
        "max_position_embeddings": 32768,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _vision(shape: Shape) -> dict[str, Any]:
    return {
        "hidden_size": shape.vision_width, "intermediate_size": shape.vision_inner, "image_size": shape.pixels,
        "num_hidden_layers": shape.vision_layers, "num_attention_heads": shape.vision_heads, "patch_size": shape.patch,
    }  # fmt: skip


def _llava(shape: Shape, tokenizer: Any) -> tuple[Any, Any]:
    size = {"height": shape.pixels, "width": shape.pixels}
    processor = hf.LlavaProcessor(
        hf.CLIPImageProcessorPil(size={"shortest_edge": shape.pixels}, crop_size=size), tokenizer,
        patch_size=shape.patch, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE, image_token="<image>",
    )  # fmt: skip
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**_vision(shape)), text_config=hf.LlamaConfig(**_text(shape, tokenizer)),
        image_token_index=tokenizer.vocab["<image>"], image_seq_length=(shape.pixels // shape.patch) ** 2,
    )  # fmt: skip
    return config, processor


def _idefics2(shape: Shape, tokenizer: Any) -> tuple[Any, Any]:
    sizes = {"longest_edge": shape.pixels, "shortest_edge": shape.pixels * 378 // 980}
    images = hf.Idefics2ImageProcessorPil(size=sizes, do_image_splitting=False)
    words = hf.PreTrainedTokenizerFast(  # the same vocabulary without named special tokens: the processor adds its own
        tokenizer_object=tokenizer.backend_tokenizer, eos_token=tokenizer.eos_token, pad_token=tokenizer.pad_token
    )
    processor = hf.Idefics2Processor(images, words, image_seq_len=64, chat_template=CHAT_TEMPLATE)
    head = shape.width // shape.heads
    perceiver = {"hidden_size": shape.width, "resampler_head_dim": head, "num_key_value_heads": min(4, shape.groups)}
    config = hf.Idefics2Config(
        vision_config=_vision(shape), perceiver_config=perceiver,
        text_config=hf.MistralConfig(**_text(shape, processor.tokenizer), sliding_window=None),
        image_token_id=processor.image_token_id,
    )  # fmt: skip
    return config, processor


def rows(material: Built, works: Sequence[str], limit: float) -> Iterator[GpuRow]:
    """Measure unsee's side of each work on this device."""
    for work in works:
        timed(work, "ours", material)
        cost = timed(work, "ours", material)[0]
        flops = timed(work, "ours", material, count=True)[0].flops
        peak = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else cost.peak_mib
        rate, share = cost.tokens / cost.seconds, flops / cost.seconds / limit
        yield GpuRow(material.model, work, f"{cost.seconds:.2f}", f"{rate:,.0f}", f"{share:.2f}", f"{peak:,.0f}")


def page(arguments: Sequence[str], rows: Sequence[GpuRow], limit: float) -> str:
    """Return the rows as Markdown, below the command, the machine and the versions."""
    command = shlex.join(["python", "-m", "benchmarks.gpu", *arguments])
    on = ", ".join(f"{name} {value}" for name, value in {**machine(), **versions()}.items())
    table = [GpuRow._fields, ["---"] * len(GpuRow._fields), *rows]
    return (
        f"# Large models, random weights, bfloat16\n\n```sh\n{command}\n```\n\n"
        f"On {on}; a matrix product reaches {limit / 1e12:.4g} TFLOP/s. Adapters of rank {RANK}, alpha {ALPHA}.\n\n"
        + "".join(f"| {' | '.join(row)} |\n" for row in table)
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the chosen models and print a table for each."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), default=list(SHAPES))
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--people", type=int, default=20, help=f"people in the data; {PERCENT} %% are forgotten")
    parser.add_argument("--pictures", type=int, default=4, help="pictures of the Neural Gate edit, five pairs each")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("benchmarks.gpu: torch finds no GPU", file=sys.stderr)
        return 2
    print(f"{torch.cuda.get_device_name()}, adapters of rank {RANK}, alpha {ALPHA}")
    limit = product_flops(state().device, torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "people"
        build(data, people=options.people, celebrities=4, percents=(PERCENT,))
        material = Built("", data, percent=PERCENT, pictures=options.pictures)
        measured: list[GpuRow] = []
        for name in options.models:
            for row in rows(replace(material, model=name), options.works, limit):
                measured.append(row)
                if options.out:
                    text = page(sys.argv[1:] if arguments is None else arguments, measured, limit)
                    write(options.out, text)
            print_table([row for row in measured if row.model == name])
    return 0


if __name__ == "__main__":
    sys.exit(main())
