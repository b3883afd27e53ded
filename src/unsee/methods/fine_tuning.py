"""Plain fine-tuning of the edited matrix (FT)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from unsee.data.pairs import PrivacyPair
from unsee.edits.edit import Edit
from unsee.edits.pair_rows import make_sheets
from unsee.edits.partial_forward import AUTO, down_name, parse_layers
from unsee.edits.tune import Course, refuse, tune
from unsee.methods import METHODS
from unsee.methods.base import Layers, NonNegativeFloat, PositiveFloat, PositiveInt, Work
from unsee.models.vlm import VLM


@METHODS.register("fine_tuning", paper="control")
@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """Fine-tune the same down projections on the same pairs, without any gate.

    Attributes:
        layers: "3", "2,5", "4-7", or "auto" for the layer at a third of the depth.
        benign_weight: factor of the benign loss, >= 0.
        learning_rate: Adam's step as a share of the matrix's root mean square, > 0.
        epochs: passes over the pairs.
        pictures: pictures per step.
    """

    layers: Layers = AUTO
    benign_weight: NonNegativeFloat = 1.25
    learning_rate: PositiveFloat = 0.06
    epochs: PositiveInt = 2
    pictures: PositiveInt = 1

    def edit(self, vlm: VLM, pairs: Sequence[PrivacyPair], work: Work) -> Edit:
        """Adam on the matrices with the refusal objective."""
        names = [down_name(vlm, layer) for layer in parse_layers(vlm, self.layers)]
        sheets = make_sheets(vlm, pairs, pictures=self.pictures, seed=work.seed)
        course = Course(learning_rate=self.learning_rate, epochs=self.epochs)
        deltas = tune(vlm, sheets, names, course, refuse(self.benign_weight), seed=work.seed, progress=work.progress)
        settings = {**asdict(self), "seed": work.seed}
        return Edit(method="fine_tuning", settings=settings, model=vlm.fingerprint(), deltas=deltas)
