"""Train one of the shipped base models: `python -m unsee.nano [NAME] [FOLDER]`. A killed run resumes."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path

from unsee.core.allocator import keep_freed_memory
from unsee.nano.base import BATCH_TOKENS, train_base
from unsee.nano.card import measure, write_card
from unsee.nano.kinds import KINDS, SHIPPED
from unsee.nano.small_training import CAPTION_STEPS, SEE_STEPS, train_small
from unsee.nano.vision import train_vision_tower

log = logging.getLogger(__name__)


def main() -> None:
    """Train the vision tower and the base model, then write the model card."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*KINDS, "small"]
    parser.add_argument("name", choices=names, nargs="?", default="nano", help="model to train (default: nano)")
    parser.add_argument("folder", type=Path, nargs="?", help="folder to write (default: in the package)")
    parser.add_argument("--work", type=Path, help="folder for unfinished stages (default: build/NAME)")
    parser.add_argument("--vision-steps", type=int, default=3200, help="training steps of the vision tower")
    parser.add_argument("--base-steps", type=int, help="steps on text and images (default: as the shipped model)")
    parser.add_argument("--caption-steps", type=int, default=CAPTION_STEPS, help="small: steps of tower and projector")
    parser.add_argument("--see-steps", type=int, default=SEE_STEPS, help="small: steps of the decoder's adapter")
    parser.add_argument("--portraits", type=int, default=20_000, help="portraits to train the vision tower on")
    parser.add_argument("--documents", type=int, default=20_000, help="documents to train the vision tower on")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    keep_freed_memory()
    if arguments.name == "small":
        train_small(arguments.work or Path("build/small"), arguments.caption_steps, arguments.see_steps)
        return
    kind = KINDS[arguments.name]
    folder = arguments.folder or SHIPPED / arguments.name
    work = arguments.work or Path("build") / arguments.name
    base_steps = arguments.base_steps or kind.base_steps
    quality = work / "vision.json"
    if not quality.is_file():
        tower, accuracy = train_vision_tower(
            kind.new_tower, arguments.vision_steps, arguments.portraits, arguments.documents
        )
        tower.save_pretrained(work / "tower")
        quality.write_text(json.dumps(accuracy, indent=1))
    tower = kind.tower.from_pretrained(work / "tower")
    vlm = train_base(kind, tower, base_steps, name=arguments.name, checkpoint=work / "base.safetensors")
    vlm.save(folder)
    write_card(
        vlm, folder, measure(vlm), json.loads(quality.read_text()), name=arguments.name, parts=kind.parts,
        vision_steps=arguments.vision_steps, portraits=arguments.portraits, documents=arguments.documents,
        base_steps=base_steps, batch_tokens=BATCH_TOKENS,
    )  # fmt: skip
    log.info("written folder=%s", folder)


if __name__ == "__main__":
    main()
