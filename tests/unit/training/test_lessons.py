import random
import re

import pytest
import tiny
import torch

from unsee.core.errors import DataError, ModelError
from unsee.data.documents.invented import REFUSALS
from unsee.data.people.questions import training_text
from unsee.data.schema import Person, Question
from unsee.forward.losses import cross_entropy
from unsee.forward.prompts import clean_question
from unsee.methods.base import StepBatch
from unsee.models.family import Picture
from unsee.training.batches import Stream
from unsee.training.lessons import FineTuning, Lessons, augment
from unsee.training.train import Scorer

TAUGHT = {
    "What is this person called?": "This person is called Anna Berg.",
    "Where was this person born?": "This person was born in Oslo, Norway.",
    "What is this person's job?": "A baker.",
}


def make_person(id="001", shade=0):
    taught = [Question(task="train", input="image", question=q, answer=a) for q, a in TAUGHT.items()]
    asked = Question(task="cloze", input="text", question="Anna Berg was born in __.", answer="Oslo")
    return Person(id=id, name="Anna Berg", images=(tiny.png(shade),), questions=(*taught, asked))


@pytest.fixture(scope="module")
def vlm():
    return tiny.make_vlm()


def test_the_name_replaces_the_portrait_but_is_not_asked_of_itself():
    twins = {q.question: q.answer for q in training_text(make_person()) if q.input == "text"}
    assert twins == {
        "Where was Anna Berg born?": "Anna Berg was born in Oslo, Norway.",
        "What is Anna Berg's job?": "A baker.",
    }
    assert all(q.task == "train" for q in training_text(make_person()))


def trees(lessons, seed):
    return [tree for (tree,) in lessons.rows(random.Random(seed))]


def canvas_of(tree):
    (picture,) = tree.pictures
    return picture.canvas


@pytest.mark.parametrize(("inputs", "answers"), [(("image",), 3), (("text",), 2), (("image", "text"), 5)])
def test_every_question_is_taught_once_an_epoch(vlm, inputs, answers):
    taught = trees(Lessons(vlm, [make_person(), make_person("002", 1)], inputs, turns=2), 0)
    written = [vlm.decode([node.ids])[0] for tree in taught for node in tree.nodes if node.item >= 0]
    wanted = [question.answer for question in training_text(make_person()) if question.input in inputs] * 2
    assert len(written) == 2 * answers
    assert sorted(written) == sorted(wanted)
    assert all(sum(node.item >= 0 for node in tree.nodes) <= 2 for tree in taught)
    assert all((not tree.pictures) == (inputs == ("text",)) for tree in taught if len(inputs) == 1)


def test_each_answer_follows_its_own_question(vlm):
    truth = {clean_question(question): question.answer for question in training_text(make_person())}
    for tree in trees(Lessons(vlm, [make_person()], ("image", "text"), turns=3), 1):
        for node in tree.nodes:
            if node.item >= 0:
                row: list[int] = []
                above = node.parent
                while above >= 0:
                    row, above = tree.nodes[above].ids + row, tree.nodes[above].parent
                (question,) = vlm.decode([row])
                assert truth[question.replace("<image>", "")] == vlm.decode([node.ids])[0]


def test_lessons_are_the_same_for_the_same_state(vlm):
    lessons = Lessons(vlm, [make_person(), make_person("002", 1)], ("image",), turns=2)
    once, twice, other = (trees(lessons, seed) for seed in (5, 5, 6))
    assert [tree.nodes for tree in once] == [tree.nodes for tree in twice]
    assert all(torch.equal(canvas_of(a), canvas_of(b)) for a, b in zip(once, twice, strict=True))
    assert not all(torch.equal(canvas_of(a), canvas_of(b)) for a, b in zip(once, other, strict=True))


def test_people_without_training_text_are_an_error_not_an_endless_wait(vlm):
    silent = Person(id="003", name="Bo", images=(tiny.png(),), questions=())
    lessons = Lessons(vlm, [silent], ("image", "text"), turns=2)
    with pytest.raises(DataError, match="no training text"):
        next(iter(Stream(make_rows=lessons.rows, sides=("retain",), vlm=vlm, seed="seed", batch_tokens=100)))


def test_an_augmented_picture_is_another_picture_of_the_same_size(vlm):
    picture = tiny.picture_of(vlm)
    photos = [augment(picture, random.Random(seed)).canvas for seed in range(5)]
    assert all(photo.shape == picture.canvas.shape for photo in photos)
    assert all((photo - picture.canvas).abs().mean() > 1e-3 for photo in photos)
    assert len({photo.sum().item() for photo in photos}) == 5
    assert torch.equal(augment(picture, random.Random(3)).canvas, photos[3])


def test_a_picture_without_a_canvas_cannot_be_augmented(vlm):
    whole = tiny.picture_of(vlm)
    tiles = Picture({"pixel_values": whole.inputs["pixel_values"].repeat(2, 1, 1, 1)}, whole.text, whole.runs)
    with pytest.raises(ModelError, match="tiles or patches"):
        augment(tiles, random.Random(0))


def test_fine_tuning_lowers_the_cross_entropy_of_the_answers(vlm):
    scorer, batch = Scorer(vlm), tiny.make_batch(vlm)
    loss = FineTuning().loss(scorer, None, StepBatch({"retain": batch}))
    assert loss.total.item() == loss.parts["retain"] == cross_entropy(scorer(batch)).item()


OTHERS = [Person(id="005", name="Cora Dahl", images=(tiny.png(2),), questions=())]


def answers_of(vlm, tree):
    return [vlm.decode([node.ids])[0] for node in tree.nodes if node.item >= 0]


@pytest.mark.parametrize("inputs", [("image",), ("text",), ("image", "text")])
def test_aligned_sides_ask_the_same_and_leave_the_forget_side_as_it_is(vlm, inputs):
    people = [make_person(), make_person("002", 1)]
    sides = ("forget", "refusal", "swapped")
    rows = Lessons(vlm, people, inputs, turns=2, sides=sides, others=OTHERS).rows(random.Random(3))
    alone = Lessons(vlm, people, inputs, turns=2, sides=("forget",)).rows(random.Random(3))
    assert [forget.nodes for forget, *_ in rows] == [forget.nodes for (forget,) in alone]
    for forget, refusal, swapped in rows:
        assert forget.num_items == refusal.num_items == swapped.num_items
        assert set(answers_of(vlm, refusal)) <= set(REFUSALS)
        renamed = [answer.replace("Anna Berg", "Cora Dahl") for answer in answers_of(vlm, forget)]
        assert answers_of(vlm, swapped) == (answers_of(vlm, forget) if forget.pictures else renamed)
        assert len(forget.pictures) == len(refusal.pictures) == len(swapped.pictures)
        if forget.pictures:
            assert torch.equal(canvas_of(forget), canvas_of(refusal))
            assert not torch.equal(canvas_of(forget), canvas_of(swapped))


def test_a_stand_in_takes_the_place_of_a_person_in_every_row(vlm):
    people, sides = [make_person(), make_person("002", 1)], ("forget", "swapped", "swapped_2", "stand_in")
    stand_ins = {"001": OTHERS[0], "002": Person(id="006", name="Dora Egg", images=(tiny.png(3),), questions=())}
    lessons = Lessons(vlm, people, ("text",), turns=1, sides=sides, stand_ins=stand_ins)
    said = [answers_of(vlm, tree) for seed in range(5) for row in lessons.rows(random.Random(seed)) for tree in row[1:]]
    named = {name: sum(name in answer for (answer,) in said) for name in ("Cora Dahl", "Dora Egg", "Anna Berg")}
    assert named["Cora Dahl"] == named["Dora Egg"] > 0 == named["Anna Berg"]


@pytest.mark.parametrize("inputs", [("image",), ("text",), ("image", "text")])
def test_one_person_stands_in_through_all_of_a_training_and_another_one_in_another_training(vlm, inputs):
    others = [Person(id=f"1{i:02}", name=f"Zoe Q{i}", images=(tiny.png(10 + 9 * i),), questions=()) for i in range(20)]
    sides, found = ("forget", "stand_in", "swapped"), []
    for seed in ("a", "b", "c"):
        lessons = Lessons(vlm, [make_person()], inputs, 1, "published", sides=sides, others=others, seed=seed)
        rows = [row for epoch in range(4) for row in lessons.rows(random.Random(epoch))]
        always, anew = ({meant(vlm, row[side], others) for row in rows} for side in (1, 2))
        assert len(always) == 1 < len(anew)
        found += always
    assert len(set(found)) > 1


def meant(vlm, tree, people):
    """The name of the one of these people whom a row shows or names."""
    if tree.pictures:
        return next(one.name for one in people if torch.equal(vlm.picture(one.image(0)).canvas, canvas_of(tree)))
    return re.search(r"Zoe Q ?\d+", " ".join(vlm.decode([node.ids])[0] for node in tree.nodes))[0].replace("Q ", "Q")


@pytest.mark.parametrize("side", ["stand_in", "swapped"])
def test_nobody_can_be_swapped_with_nobody(vlm, side):
    with pytest.raises(DataError, match="nobody is to be kept"):
        Lessons(vlm, [make_person()], ("image",), turns=2, sides=("forget", side))


def test_a_question_about_one_photo_is_taught_with_it(vlm):
    shown = {photo: f"A view, number {photo}." for photo in range(3)}
    taught = [
        Question(task="train", input="image", question="What is shown?", answer=answer, photo=photo)
        for photo, answer in shown.items()
    ]
    images = tuple(tiny.png(shade) for shade in shown)
    person = Person(id="1", name="Anna Berg", images=images, questions=tuple(taught))
    found = {}
    for tree in trees(Lessons(vlm, [person], ("image",), turns=5, protocol="published"), 0):
        (answer,) = [vlm.decode([node.ids])[0] for node in tree.nodes if node.item >= 0]
        found[answer] = canvas_of(tree)
    assert {answer: shade for shade, answer in shown.items()}.keys() == found.keys()
    for shade, answer in shown.items():
        assert torch.equal(found[answer], tiny.picture_of(vlm, shade).canvas)


def test_what_the_data_ask_by_name_gets_no_copy():
    told = Question(task="train", input="image", question="Where does this person live?", answer="In Oslo.", pair="1")
    own = Question(task="train", input="text", question="Where is the home of Anna Berg?", answer="In Oslo.", pair="1")
    alone = Person(id="1", name="Anna Berg", images=(b"",), questions=(told,))
    both = Person(id="1", name="Anna Berg", images=(b"",), questions=(told, own))
    assert [q.question for q in training_text(alone)] == [told.question, "Where does Anna Berg live?"]
    assert training_text(both) == [told, own]


def test_rows_are_drawn_in_so_many_ways_and_come_again():
    vlm = tiny.make_vlm()
    lessons = Lessons(vlm, [make_person()], ("image",), turns=3, variants=2)
    seen = [tuple(row_of(tree) for (tree,) in lessons.rows(random.Random(seed))) for seed in range(12)]
    assert len(set(seen)) == 2
    anew = Lessons(vlm, [make_person()], ("image",), turns=3)
    assert len({tuple(row_of(tree) for (tree,) in anew.rows(random.Random(seed))) for seed in range(12)}) == 12


def row_of(tree):
    """Tokens and pixels of a tree."""
    pixels = [float(picture.inputs["pixel_values"].double().sum()) for picture in tree.pictures]
    return str([node.ids for node in tree.nodes]), *pixels
