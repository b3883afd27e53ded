"""A loss method."""

from dataclasses import dataclass

from unsee.forward.losses import cross_entropy
from unsee.methods import METHODS
from unsee.methods.base import Loss, LossMethod, Model, NonNegativeFloat, NonNegativeInt, PositiveFloat, StepBatch


@METHODS.register("extra_method", paper="arXiv:0000.00001", label="Extra method")
@dataclass(frozen=True, kw_only=True)
class ExtraMethod(LossMethod):
    """Descend on retain answers and climb a little on forget answers."""

    learning_rate: PositiveFloat = 1e-3
    steps: NonNegativeInt = 2
    share: NonNegativeFloat = 0.1

    def loss(self, model: Model, reference: Model, batch: StepBatch) -> Loss:
        forget, retain = cross_entropy(model(batch.forget)), cross_entropy(model(batch.retain))
        return Loss(retain - self.share * forget, {"forget": forget.item(), "retain": retain.item()})
