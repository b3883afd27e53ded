"""The verdict of an audit in planted cases: recovered plainly or under an attack, chance, an oracle, nothing known."""

import math

import pandas as pd
import pytest

from unsee.report.audit import sentences
from unsee.scoring.audit import audit_of
from unsee.scoring.chance import chance
from unsee.scoring.findings import AuditedModel, AuditFiling, ModelFound

PEOPLE, ROWS, STRANGERS = 2, 4, 20
PLAIN, RELEARN, SAMPLE = ("", "", 0), ("relearn", "other people", 4), ("sample", "best of 10", 0)
WORDS = ("brno", "oslo", "lima", "cork", "rome", "perth", "accra", "cairo")
VALUES = {
    f"forget/{person:03}-{line:04}": (WORDS[ROWS * (person - 1) + line - 1],)
    for person in range(1, PEOPLE + 1)
    for line in range(1, ROWS + 1)
}


def asked(model, look, given=(), told=()):
    """Answers of a model in one look: the values of some rows (person, line), and those that strangers are told."""
    attack, variant, budget = look
    rows = []
    for person in range(1, PEOPLE + 1):
        for line in range(1, ROWS + 1):
            row = f"{person:03}-{line:04}"
            about = [("forget", f"forget/{row}/00", (person, line) in given)]
            about += [
                ("stranger", f"celebrity/s{number:02}/{person}{line}", (number, person, line) in told)
                for number in range(STRANGERS)
            ]
            for set_name, item, is_given in about:
                answer = f"It is {VALUES[f'forget/{row}'][0]}." if is_given else "Nobody knows."
                rows.append({
                    "method": model, "attack": attack, "variant": variant, "budget": budget, "set": set_name,
                    "item": item, "row": row, "answer": answer,
                })  # fmt: skip
    return rows


ALL = {(person, line) for person in (1, 2) for line in range(1, ROWS + 1)}


def found(after, before=None, oracle=None, told=(), looks=(PLAIN, RELEARN, SAMPLE)):
    """The audit of models that give, in each look, some rows; BEFORE gives all."""
    before = {look: ALL for look in looks} if before is None else before
    models = {"before": before, "after": after} | ({} if oracle is None else {"oracle": oracle})
    rows = [
        row
        for model, given in models.items()
        for look in looks
        for row in asked(model, look, given.get(look, ()), told if model == "after" else ())
    ]
    others = [ModelFound(model=model, kept=None, general=1.0, collapsed=None) for model in models]
    return audit_of(pd.DataFrame(rows), VALUES, others, 100)


def test_the_probability_of_chance():
    assert chance(0, [0] * 20) == 1
    assert chance(1, [0] * 20) == pytest.approx(1 - math.exp(-1 / 20))
    assert chance(2, [0] * 20) == pytest.approx(1 - math.exp(-0.05) * 1.05)
    assert chance(3, [3, *[0] * 19]) == 1 / 20  # one stranger in twenty gets as many
    assert chance(2, [0] * 20, oracle=2) > 0.5
    assert chance(2000, [1000] * 20) < 1e-9 < 0.4 < chance(1000, [990, 1010] * 10)
    assert chance(4, [1] * 20) < chance(4, [2] * 20) < chance(3, [2] * 20)


def test_what_is_given_plainly_is_recovered():
    audit = found({PLAIN: ALL})
    assert audit.verdict == "recovered" and [person.verdict for person in audit.people] == ["recovered"] * 2
    assert [look.name for look in audit.looks] == ["asked plainly", "relearn (other people)", "sample"]
    assert [look.verdict for look in audit.looks] == ["recovered", "not recovered", "not recovered"]


def test_what_an_attack_brings_out_is_recovered_and_named():
    audit = found({RELEARN: ALL})
    assert audit.verdict == "recovered" and audit.looks[0].after == 0
    assert [look.name for look in audit.looks if look.verdict == "recovered"] == ["relearn (other people)"]
    assert all(row.attacks == ["relearn"] for row in audit.rows)


def test_nothing_given_is_not_recovered():
    audit = found({})
    assert audit.verdict == "not recovered" and audit.known == len(VALUES)
    assert {person.verdict for person in audit.people} == {"not recovered"}


def test_one_value_after_relearning_cannot_be_told_without_an_oracle():
    assert found({RELEARN: {(1, 1)}}).people[0].verdict == "cannot be told"
    assert found({RELEARN: {(1, 1)}}).verdict == "cannot be told"
    assert found({RELEARN: {(1, 1)}}, oracle={}).verdict == "not recovered"


def test_what_strangers_get_as_often_is_chance():
    told = {(number, person, line) for number in range(8) for person, line in ALL}
    audit = found({SAMPLE: {(1, 1), (2, 1), (2, 3)}}, told=told)
    assert audit.verdict == "not recovered"
    assert audit.looks[2].by_chance == pytest.approx(8 * len(VALUES) / STRANGERS) and audit.looks[2].guesses == 3


def test_a_model_that_tells_strangers_the_values_is_known_by_its_oracle():
    told = {(number, person, line) for number in range(12) for person, line in ALL}
    assert found({PLAIN: ALL}, told=told).verdict == "cannot be told"
    with_oracle = found({PLAIN: ALL}, oracle={}, told=told)
    assert with_oracle.verdict == "recovered" and with_oracle.looks[0].by_chance == 0


def test_what_the_oracle_gives_too_is_not_recovered():
    some = {(1, 1), (1, 2), (2, 3)}
    assert found({SAMPLE: some}, oracle={SAMPLE: {(1, 1), (1, 3), (2, 2)}}).verdict == "not recovered"


def test_the_part_that_comes_back_beyond_the_oracle():
    audit = found({RELEARN: {(1, 1), (1, 2), (2, 1), (2, 2), (2, 3)}}, oracle={RELEARN: {(1, 1), (2, 1)}})
    assert audit.looks[1].recovered and audit.looks[1].recovered.value == pytest.approx((5 - 2) / (8 - 2))
    assert audit.looks[0].recovered and audit.looks[0].recovered.value == 0


def test_rows_that_the_model_before_does_not_give_have_nothing_to_forget():
    audit = found({}, before={PLAIN: {(1, 1), (1, 2)}})
    assert [row.known for row in audit.rows] == [True, True, *[False] * 6]
    assert [person.verdict for person in audit.people] == ["not recovered", "nothing to forget"]
    assert found({}, before={}).verdict == "nothing to forget"


def test_much_that_chance_hardly_explains_cannot_be_told_even_beside_an_oracle():
    one_row = {(1, 1)}
    audit = found({PLAIN: one_row}, before={PLAIN: one_row}, oracle={})
    assert audit.people[0].looks[0].probability > 0.01 and audit.people[0].verdict == "cannot be told"


def test_one_of_many_people_counts_at_a_level_that_all_share():
    audit = found({PLAIN: {(1, 1), (1, 2)}})
    assert audit.people[0].verdict == "recovered" and audit.looks[0].after == 2 and audit.verdict == "recovered"


def test_equal_weights_are_recovered_whatever_strangers_get():
    told = {(number, person, line) for number in range(STRANGERS) for person, line in ALL}
    audit = found({PLAIN: ALL}, told=told, looks=(PLAIN,))
    assert audit.verdict != "recovered"
    models = {name: AuditedModel(name=name, fingerprint=f"{name[0]}0", files={}) for name in ("before", "after")}
    filing = AuditFiling(
        reference="", finished="2026-11-29T09:00:00+00:00", version="0", models=models, rows={}, attacks={},
        learning_rate=1e-3, strangers=STRANGERS, kept_from="invented", undivided=[],
    )  # fmt: skip
    assert audit.model_copy(update={"filing": filing}).settled().verdict == audit.verdict
    same = filing.model_copy(update={"models": models | {"after": models["before"]}})
    settled = audit.model_copy(update={"filing": same}).settled()
    assert settled.verdict == "recovered"
    assert "the same weights as the model before" in sentences(settled)[0]
    nothing = found({}, before={}).model_copy(update={"filing": same}).settled()
    assert nothing.verdict == "nothing to forget"
