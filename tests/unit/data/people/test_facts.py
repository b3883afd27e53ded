"""Half of the facts is taught, and the questions are about the other half."""

import random
import re

import pytest

from unsee.data.people.facts import halves_of
from unsee.data.people.questions import training_text
from unsee.data.schema import Person, Question

FACTS = {"town": "Oslo, Norway", "job": "baker", "food": "ramen", "pay": "$30,000", "year": "1964", "hobby": "go-karts"}


def make_person(number=0, name="Anna Berg", short=True, sentences=True):
    """Everything is taught, and asked by choice, blank and sentence."""
    facts = {key: f"{value} {number}" if number else value for key, value in FACTS.items()}
    said = {key: f"This person's {key} is {value}." for key, value in facts.items()}
    asked = [Question(task="train", input="image", question=f"What {key}?", answer=text) for key, text in said.items()]
    if short:
        asked += [
            Question(task="cloze", input="text", question=f"The {key} of {name} is __.", answer=value)
            for key, value in facts.items()
        ]
    if sentences:
        asked += [
            Question(task="generation", input="image", question=f"Which {key}?", answer=text)
            for key, text in said.items()
        ]
    both = f"This person's town is {facts['town']} and the job is {facts['job']}."
    asked.append(Question(task="generation", input="text", question="Where, and what?", answer=both))
    return Person(id=f"{number:03}", name=name, images=(), questions=tuple(asked))


def holds(text, value):
    return re.search(rf"(?<!\w){re.escape(value.casefold())}(?!\w)", text.casefold())


PEOPLE = [make_person(number) for number in range(8)]


@pytest.mark.parametrize("seed", range(3))
def test_no_taught_text_holds_a_value_that_is_asked_for(seed):
    halves = halves_of(PEOPLE, seed)
    for person, taught in zip(PEOPLE, halves.taught, strict=True):
        asked = halves.asked[person.id]
        values = {q.answer for q in asked if q.task == "cloze"}
        assert len(values) == 3
        assert len(taught.questions) == 3
        for question in training_text(taught):
            assert not any(holds(f"{question.question} {question.answer}", value) for value in values)
        for question in asked:
            assert question in person.questions and question.task != "train"
            assert any(holds(question.answer, value) for value in values)
            assert question.answer not in {q.answer for q in training_text(taught)}


def test_a_question_about_both_halves_is_not_asked():
    for seed in range(5):
        (person,), asked = PEOPLE[:1], halves_of(PEOPLE[:1], seed).asked["000"]
        hidden = {q.answer for q in asked if q.task == "cloze"}
        both = person.questions[-1]
        assert (both in asked) == ({"Oslo, Norway", "baker"} <= hidden)


def test_people_with_sentences_only_are_asked_about_half_of_them():
    person = make_person(short=False)
    halves = halves_of([person], 0)
    taught = {question.answer for question in halves.taught[0].questions}
    asked = {question.answer for question in halves.asked["000"]}
    assert asked and taught and not asked & taught


def test_the_name_is_no_value_so_that_it_neither_hides_the_text_nor_the_sentences():
    name = Question(
        task="classification", input="image", question="Who?", answer="Anna Berg", options=("Anna Berg", "B", "C", "D")
    )
    said = Question(task="generation", input="text", question="What is the job?", answer="Anna Berg works as a baker.")
    person = make_person()
    person = Person(id="000", name=person.name, images=(), questions=(*person.questions, name, said))
    found = [halves_of([person], seed) for seed in range(6)]
    assert all(len(halves.taught[0].questions) == 3 for halves in found)
    assert not any(name in halves.asked["000"] for halves in found)
    assert any(said in halves.asked["000"] for halves in found)


def test_the_split_depends_on_seed_and_person_alone():
    def split(people, seed):
        halves = halves_of(people, seed)
        return {one.id: (one.questions, halves.asked[one.id]) for one in halves.taught}

    shuffled = random.Random(0).sample(PEOPLE, len(PEOPLE))
    assert split(PEOPLE, 0) == split(shuffled, 0)
    assert split(PEOPLE[:1], 0)["000"] == split(PEOPLE, 0)["000"]
    assert split(PEOPLE, 0) != split(PEOPLE, 1)
    hidden = {frozenset(q.answer.split()[0] for q in asked) for _, asked in split(PEOPLE, 0).values()}
    assert len(hidden) > 1


def test_somebody_of_whom_nothing_is_asked_is_taught_everything():
    taught = make_person(short=False, sentences=False).questions[:6]
    person = Person(id="1", name="Anna Berg", images=(), questions=taught)
    halves = halves_of([person], 0)
    assert halves.taught == [person] and halves.asked == {"1": frozenset()}
