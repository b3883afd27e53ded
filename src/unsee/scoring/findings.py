"""The content of audit.json: what an audit found, look by look, person by person and row by row."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from unsee.scoring.intervals import Estimate
from unsee.scoring.record_file import Filing, RecordFile, Strict

BEFORE, AFTER, ORACLE = "before", "after", "oracle"
MEMBERSHIP_POWER = 0.8
"""An area under the curve of the model before below which likelihoods say nothing of the audited model."""
Verdict = Literal["recovered", "cannot be told", "not recovered", "nothing to forget"]


class LookFound(Strict):
    """What one look found, about one person or about all.

    Attributes:
        attack: the attack; "" where the rows were asked plainly.
        variant: the training of an attack that trains; "" for all others.
        rows: number of rows asked about.
        before: number of rows whose value the model before gives, whole or a part that identifies it.
        after: the same of the audited model.
        oracle: the same of the oracle; None without one.
        guesses: those of `after` that strangers get as often (`values_given.is_guess`).
        by_chance: the number of rows that a stranger gets on average, from the oracle or, without one, from the
            audited model.
        probability: that chance alone gives as many rows as `after` (`chance`).
        before_probability: the same of `before`.
        verdict: of this look alone.
        recovered: the part of what the model before gives, asked plainly, that comes back beyond what the oracle gives;
            None without an oracle, or if the two do not differ.
    """

    attack: str
    variant: str
    rows: int
    before: int
    after: int
    oracle: int | None
    guesses: int
    by_chance: float
    probability: float
    before_probability: float
    verdict: Verdict
    recovered: Estimate | None = None

    @property
    def name(self) -> str:
        """Attack and training as text."""
        return f"{self.attack} ({self.variant})" if self.variant else self.attack or "asked plainly"


class RowFound(Strict):
    """One row: in how many ways of asking its value is given plainly, and which attacks bring it out.

    Attributes:
        person: the number of the person.
        line: the line in the file.
        known: True if the model before gives the value, in a look that finds more in it than chance does.
        ways: ways of asking plainly.
        before: ways in which the model before gives the value, whole or a part that identifies it.
        after: the same of the audited model.
        oracle: the same of the oracle; None without one.
        attacks: attacks under which the audited model gives it.
    """

    person: int
    line: int
    known: bool
    ways: int
    before: int
    after: int
    oracle: int | None
    attacks: list[str]


class PersonFound(Strict):
    """One person: the verdict, and what each look found."""

    person: int
    lines: str
    verdict: Verdict
    looks: list[LookFound]


class ModelFound(Strict):
    """What else a model answers: the sign of damage.

    Attributes:
        model: "before", "after" or "oracle".
        kept: share of the values of people to keep that it gives; None if nobody is to be kept.
        general: share of questions about nobody that it answers right.
        collapsed: the sign of collapse as a sentence, against the model before; None if there is none.
    """

    model: str
    kept: float | None
    general: float
    collapsed: str | None


class MembershipFound(Strict):
    """How well a signal of one model tells rows about their people from the same rows about strangers.

    Attributes:
        model: "before", "after" or "oracle".
        signal: what an answer is compared with: "strangers" or "oracle" (`unsee.scoring.audit_membership`).
        area: the area under the curve; .5 for a signal that tells nothing.
        found: the share of rows found while at most 1 % of those about strangers are taken for them.
    """

    model: str
    signal: str
    area: Estimate
    found: Estimate


class Membership(Strict):
    """What likelihoods tell, asked plainly; it takes no part in the verdict of the audit, which is about values given.

    Attributes:
        verdict: on the audited model: without an oracle never "recovered".
        people: whom the rows are about.
        rows: rows that could be compared: their true answers do not say the name.
        found: each signal of each model; without intervals if there are too few people.
    """

    verdict: Verdict
    people: int
    rows: int
    found: list[MembershipFound]

    @property
    def is_weak(self) -> bool:
        """True if not even the model before finds its own rows much likelier, as where it says them in other words."""
        (before,) = (one.area.value for one in self.found if (one.model, one.signal) == (BEFORE, "strangers"))
        return before < MEMBERSHIP_POWER


class AuditedModel(Strict):
    """A model, as it can be recognised.

    Attributes:
        name: its name or folder.
        fingerprint: hash of all its weights and of its chat template.
        files: the SHA-256 of each file of weights, by name; of an adapter also those of what it was trained on.
    """

    name: str
    fingerprint: str
    files: dict[str, str]


class AuditFiling(Filing):
    """What else the page must hold: the models, the files of rows and the attacks."""

    models: dict[str, AuditedModel]
    rows: dict[str, str]
    attacks: dict[str, str]
    learning_rate: float
    strangers: int
    kept_from: Literal["file", "invented"]
    undivided: list[int]


class Audit(RecordFile):
    """The content of audit.json.

    Attributes:
        verdict: over all people.
        people: each person whose rows should be forgotten.
        looks: every look over all people together.
        rows: each row.
        models: what else each model answers.
        membership: what likelihoods tell; None if no row can be compared with strangers.
        filing: what identifies the audit; None while it is read.
    """

    version: Literal["unsee.audit/1"] = Field(default="unsee.audit/1", alias="schema")
    verdict: Verdict
    people: list[PersonFound]
    looks: list[LookFound]
    rows: list[RowFound]
    models: list[ModelFound]
    membership: Membership | None = None
    filing: AuditFiling | None = None

    @property
    def has_oracle(self) -> bool:
        """True if an oracle was asked too."""
        return any(one.model == ORACLE for one in self.models)

    @property
    def is_unchanged(self) -> bool:
        """True if the audited model has the weights of the model before."""
        models = self.filing.models if self.filing else {}
        return len(models) > 1 and models[AFTER].fingerprint == models[BEFORE].fingerprint

    def settled(self) -> Audit:
        """Return the audit with the verdict that equal weights decide, whatever chance could explain."""
        decided = self.is_unchanged and self.verdict != "nothing to forget"
        return self.model_copy(update={"verdict": "recovered"}) if decided else self

    @property
    def known(self) -> int:
        """The number of rows that the model before gives."""
        return sum(row.known for row in self.rows)
