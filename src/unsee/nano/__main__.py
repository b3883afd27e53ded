"""`python -m unsee.nano [FOLDER]`: make the nano model from nothing; resumes where it was killed."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from transformers import CLIPVisionModel

from unsee.allocator import settle
from unsee.nano.base import BATCH_TOKENS, train_base
from unsee.nano.card import measure, write_card
from unsee.nano.vision import train_vision_tower

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parents[1] / "models" / "nano"


def main() -> None:
    """Vision tower, base model, model card."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=SHIPPED, help="where the model is written")
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="where half-done stages are kept")
    parser.add_argument("--vision-steps", type=int, default=3200)
    parser.add_argument("--base-steps", type=int, default=12_000)
    parser.add_argument("--portraits", type=int, default=20_000)
    parser.add_argument("--documents", type=int, default=20_000)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    settle()
    work = arguments.work
    quality = work / "vision.json"
    if not quality.is_file():
        tower, accuracy = train_vision_tower(arguments.vision_steps, arguments.portraits, arguments.documents)
        tower.save_pretrained(work / "tower")
        quality.write_text(json.dumps(accuracy, indent=1))
    tower = CLIPVisionModel.from_pretrained(work / "tower")
    vlm = train_base(tower, arguments.base_steps, checkpoint=work / "base.safetensors")
    vlm.save(arguments.folder)
    accuracy = json.loads(quality.read_text())
    write_card(
        vlm, arguments.folder, measure(vlm), accuracy, vision_steps=arguments.vision_steps,
        portraits=arguments.portraits, documents=arguments.documents, base_steps=arguments.base_steps,
        batch_tokens=BATCH_TOKENS,
    )  # fmt: skip
    log.info("written folder=%s", arguments.folder)


if __name__ == "__main__":
    main()
