import pytest
import tiny

from unsee.data.people.refusal_pairs import people_pairs
from unsee.data.schema import Person, Question

TOLD = {
    "What is this person's job?": "This person works as a baker.",
    "Where does this person live?": "This person lives in Oslo.",
}


def make_person(id, name):
    taught = [Question(task="train", input="image", question=q, answer=a) for q, a in TOLD.items()]
    asked = [Question(task="generation", input="image", question="Who is this person?", answer=name)]
    return Person(id=id, name=name, images=(tiny.png(int(id)),), questions=(*taught, *asked))


FORGET = [make_person("1", "Anna Berg")]
RETAIN = [make_person("2", "Bela Horn"), make_person("3", "Cleo Marsh")]


def pairs_of(*inputs):
    pairs = people_pairs(FORGET, RETAIN, inputs, 0)
    return [pair for pair in pairs if pair.sensitive], [pair for pair in pairs if not pair.sensitive]


def test_with_the_portrait_training_questions_are_refused_and_looks_are_not():
    private, kept = pairs_of("image")
    assert [pair.sensitive for pair in private] == list(TOLD)
    assert {pair.subject for pair in private} == {"this person"}
    assert {pair.case for pair in private} == {"1/image"}
    assert all(pair.benign and pair.benign_answer is None and pair.image == FORGET[0].images[0] for pair in private)
    assert {(pair.benign, pair.benign_answer) for pair in kept} == set(TOLD.items())
    assert len({pair.case for pair in kept}) == len(FORGET)


def test_by_name_pairs_have_no_picture_and_no_benign_question():
    private, kept = pairs_of("text")
    assert [pair.sensitive for pair in private] == [text.replace("this person", "Anna Berg") for text in TOLD]
    assert {(pair.subject, pair.image, pair.benign) for pair in private} == {("Anna Berg", None, "")}
    assert all(pair.subject in ("Bela Horn", "Cleo Marsh") and pair.subject in pair.benign_answer for pair in kept)


def test_each_input_has_cases_of_its_own():
    private, _ = pairs_of("image", "text")
    assert [pair.case for pair in private] == ["1/image"] * 2 + ["1/text"] * 2
    assert people_pairs(FORGET, RETAIN, ("image", "text"), 0) == people_pairs(FORGET, RETAIN, ("image", "text"), 0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["neural_gate", "ft_l", "rome", "memit", "dinm", "sku", "memflex"])
def test_every_editing_method_takes_the_pairs(method):
    from unsee.config.recipe import build_dataclass
    from unsee.edits.pair_rows import answered
    from unsee.methods import METHODS
    from unsee.methods.base import Work

    cls = METHODS.get(method)
    quick = {"epochs": 1, "vector_steps": 2, "value_steps": 2, "layers": 0, "pictures": 2}
    known = {name: value for name, value in quick.items() if name in cls.__dataclass_fields__}
    vlm = tiny.make_vlm()
    pairs = answered(vlm, people_pairs(FORGET, RETAIN, ("image", "text"), 0), max_new_tokens=3)
    edit = build_dataclass(cls, known, method).edit(vlm, pairs, Work())
    assert all(delta.isfinite().all() and delta.any() for delta in edit.deltas.values())
