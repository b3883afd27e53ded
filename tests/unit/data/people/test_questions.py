import random
from collections import Counter
from dataclasses import replace

import pytest

from unsee.data.people.portraits import draw_look, draw_scene
from unsee.data.people.profiles import ASKABLE, ATTRIBUTES, VALUES, draw_people
from unsee.data.people.questions import (
    SHORT,
    appearance,
    appearance_sentence,
    evaluation_questions,
    every_wording,
    name_twin,
    training_questions,
    with_name,
)
from unsee.data.people.wordings import WORDINGS
from unsee.data.schema import LETTERS, Question

PEOPLE = draw_people(60, seed=0)
ADA = PEOPLE[0]


def attribute_of(question, split):
    """The attribute whose wording this image question is."""
    for attribute, wordings in WORDINGS.items():
        asked = [text for text, _ in wordings.of(split)] + [f"{wordings.cloze[split]} __."]
        if question.question in asked:
            return attribute
    raise LookupError(question.question)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Where was this person born?", "Where was Ada Novak born?"),
        ("This person's hobby is golf.", "Ada Novak's hobby is golf."),
        ("What does the person in the image do?", "What does Ada Novak do?"),
        ("The person shown in this picture is tall.", "Ada Novak is tall."),
        ("What is this person's father's occupation?", "What is Ada Novak's father's occupation?"),
    ],
)
def test_the_name_takes_the_place_of_the_person(text, named):
    assert with_name(text, "Ada Novak") == named


@pytest.mark.parametrize(
    ("asked", "by_name"),
    [
        ("Where was this person born?", "Where was Ada Novak born?"),
        ("What is this individual's father's job?", "What is Ada Novak's father's job?"),
        ("What is the depicted person's height?", "What is Ada Novak's height?"),
        ("What pet does this person\u2019s family have?", "What pet does Ada Novak\u2019s family have?"),
        ("Where does the individual depicted in the photo live?", "Where does Ada Novak live?"),
        ("What does the person pictured do?", "What does Ada Novak do?"),
        ("Where was the person who is shown in the image born?", "Where was Ada Novak born?"),
        ("What is the salary of the person featured in this image?", "What is the salary of Ada Novak?"),
        ("What does the woman in the picture like to eat?", "What does Ada Novak like to eat?"),
        (
            "What profession does the person in the image have, as based on the characteristics shown?",
            "What profession does Ada Novak have?",
        ),
        ("What is this person's career, based on the traits shown in the image?", "What is Ada Novak's career?"),
        ("Based on the image, where was this person born?", "Where was Ada Novak born?"),
        ("From the photo, what is this person's job?", "What is Ada Novak's job?"),
        ("Which person that lives here is this person?", "Which person that lives here is Ada Novak?"),
        ("What is this person's job as mentioned in the profile?", "What is Ada Novak's job?"),
        ("Where was this person born, according to the given profile?", "Where was Ada Novak born?"),
        ("According to the profile, where was this person born?", "Where was Ada Novak born?"),
        ("What hobby of this person is described in the profile?", "What hobby of Ada Novak is described?"),
        ("What is the father's occupation?", "What is Ada Novak's father's occupation?"),
        ("What does the mother do?", "What does Ada Novak's mother do?"),
    ],
)
def test_a_question_about_a_portrait_is_asked_about_the_name(asked, by_name):
    question = Question(task="train", input="image", question=asked, answer="The person is a baker.")
    twin = Question(task="train", input="text", question=by_name, answer="Ada Novak is a baker.")
    assert name_twin(question, "Ada Novak") == twin
    assert name_twin(twin, "Ada Novak") is None


@pytest.mark.parametrize(
    ("asked", "told", "by_name"),
    [
        ("What is the father's occupation?", "The father is a pilot.", "Ada Novak's father is a pilot."),
        ("What is the mother's job?", "This person's mother bakes.", "Ada Novak's mother bakes."),
        ("What is this person's father's name?", "He is Ada Novak senior.", "He is Ada Novak senior."),
        ("Who is this person's mother?", "The mother is Ada Novak-Berg.", "The mother is Ada Novak-Berg."),
        ("What is this person's job?", "As stated in the profile, this person bakes.", "Ada Novak bakes."),
        ("What is this person's job?", "A baker, as mentioned in the profile.", "A baker."),
        ("What is this person's job?", "This person is in the picture trade.", "Ada Novak is in the picture trade."),
    ],
)  # fmt: skip
def test_an_answer_about_relatives_or_a_profile_is_told_by_name(asked, told, by_name):
    twin = name_twin(Question(task="train", input="image", question=asked, answer=told), "Ada Novak")
    assert twin.answer == by_name
    assert "Ada Novak" in twin.question


def test_an_answer_may_say_the_name_unless_that_is_what_was_asked():
    told = Question(
        task="train", input="image", question="Where was this person born?", answer="Ada Novak is from Brno."
    )
    assert name_twin(told, "Ada Novak").question == "Where was Ada Novak born?"
    for asked in ("Who is this person?", "What is this person called?", "By what name is this person known?"):
        assert name_twin(replace(told, question=asked, answer="That is Ada Novak."), "Ada Novak") is None


@pytest.mark.parametrize(
    "asked", ["What is the background of the image?", "How old is the man?", "Which image is this person in?"]
)
def test_questions_that_only_a_portrait_answers_are_not_asked_by_name(asked):
    assert name_twin(Question(task="train", input="image", question=asked, answer="Blue."), "Ada Novak") is None


def test_training_text_tells_each_attribute_in_a_sentence_and_the_askable_ones_in_few_words():
    questions = training_questions(ADA)
    assert all(question.task == "train" and question.input == "image" for question in questions)
    assert all("this person" in question.question for question in questions)
    sentences = [question for question in questions if not question.question.endswith(SHORT)]
    few_words = [question for question in questions if question.question.endswith(SHORT)]
    assert (len(sentences), len(few_words)) == (len(ATTRIBUTES), len(ASKABLE)) == (14, 12)
    for attribute, question in zip(ATTRIBUTES, sentences, strict=True):
        assert question.answer.endswith(f" {ADA.values[attribute]}.")
        if attribute != "name":
            assert ADA.name not in question.question + question.answer
    assert [question.answer for question in few_words] == [ADA.values[attribute] for attribute in ASKABLE]


def test_only_the_name_question_has_no_twin():
    name, *others = (name_twin(question, ADA.name) for question in training_questions(ADA))
    assert name is None
    assert all(twin.input == "text" and ADA.name in twin.question for twin in others)
    assert all(ADA.name in twin.answer for twin in others if not twin.question.endswith(SHORT))


def test_wordings_never_overlap():
    asked = [
        text for wordings in WORDINGS.values() for group in ("train", "eval", "test") for text, _ in wordings.of(group)
    ]
    told = [
        text for wordings in WORDINGS.values() for group in ("train", "eval", "test") for _, text in wordings.of(group)
    ]
    blanks = [text for wordings in WORDINGS.values() for text in wordings.cloze.values()]
    assert len(set(asked)) == len(asked)
    assert len(set(told + blanks)) == len(told + blanks)
    assert set(WORDINGS) == set(ATTRIBUTES)
    for wordings in WORDINGS.values():
        assert (len(wordings.train), len(wordings.evaluation), len(wordings.test)) >= (3, 2, 2)


@pytest.mark.parametrize("split", ["eval", "test"])
def test_eighteen_questions_of_the_published_kinds(split):
    questions = evaluation_questions(ADA, int(ADA.id), random.Random(0), split)
    assert Counter((question.task, question.input) for question in questions) == {
        (task, kind): count
        for task, count in (("classification", 5), ("generation", 2), ("cloze", 2))
        for kind in ("image", "text")
    }
    for question in questions:
        assert (ADA.name in question.question) == (question.input == "text")
        if question.task == "classification":
            assert len(set(question.options)) == 4 and question.answer in question.options
        if question.task == "cloze":
            assert question.question.count("__") == 1 and "___" not in question.question


def test_the_test_set_asks_the_same_facts_in_other_words_and_order():
    questions, paraphrases = (
        evaluation_questions(ADA, int(ADA.id), random.Random(4), split) for split in ("eval", "test")
    )
    for question, paraphrase in zip(questions, paraphrases, strict=True):
        assert question.question != paraphrase.question
        if question.task != "generation":
            assert question.answer == paraphrase.answer
        assert set(question.options) == set(paraphrase.options)
    assert [question.options for question in questions] != [paraphrase.options for paraphrase in paraphrases]


def test_attributes_and_letters_are_balanced_over_people():
    attributes: Counter[tuple[str, str]] = Counter()
    letters: Counter[int] = Counter()
    for person in PEOPLE:
        for question in evaluation_questions(person, int(person.id), random.Random(person.id), "eval"):
            if question.input == "image":
                attributes[question.task, attribute_of(question, "eval")] += 1
            if question.options:
                letters[question.options.index(question.answer)] += 1
    for task, per_person in (("classification", 5), ("cloze", 2)):
        assert {attributes[task, attribute] for attribute in ASKABLE} == {60 * per_person // 12}
    assert {attributes["generation", attribute] for attribute in ("name", *ASKABLE)} <= {9, 10}
    assert not any(attribute == "gender" for _, attribute in attributes)
    assert max(letters.values()) - min(letters[index] for index in range(4)) <= 20


def test_wrong_options_come_from_all_values_of_the_attribute():
    offered = {
        option
        for person in PEOPLE
        for q in evaluation_questions(person, int(person.id), random.Random(0), "eval")
        for option in q.options
    }
    held = {value for person in PEOPLE for value in person.values.values()}
    assert offered <= {value for values in VALUES.values() for value in values}
    assert not offered <= held


def test_every_wording_covers_all_groups_and_hides_the_name():
    questions = every_wording(ADA)
    assert len(set(questions)) == len(questions)
    assert questions == every_wording(ADA)
    for attribute, wordings in WORDINGS.items():
        for group in ("train", "eval", "test"):
            for text, _ in wordings.of(group):
                kinds = {
                    question.input for question in questions if question.question in (text, with_name(text, ADA.name))
                }
                assert kinds == ({"image"} if attribute == "name" else {"image", "text"})
    assert all(len(question.options) == 4 for question in questions if question.task == "classification")


def test_appearance_is_what_was_drawn():
    rng = random.Random(0)
    for _ in range(50):
        look, scene = draw_look(rng, rng.choice(("female", "male"))), draw_scene(rng)
        questions = appearance(look, scene)
        assert questions == appearance(look, scene)
        assert len(questions) == (7 if look.sex == "male" else 6)
        shown = {look.hair_colour, look.hair_style, look.glasses, look.beard, *vars(scene).values()}
        for question in questions:
            assert question.answer in shown
            assert question.answer in question.options and len(set(question.options)) == len(LETTERS)
        assert look.hair_style in appearance_sentence(look, scene)
