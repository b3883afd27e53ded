"""Wordings of the questions and statements about each attribute, in three groups that never overlap.

Training text uses the first `train` wording, evaluation questions use `evaluation`, and the test set uses `test`. A
model trained on one group has to understand the others. Questions say "this person"; statements end where the value
begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Group = Literal["train", "eval", "test"]
Wording = tuple[str, str]
"""A question, and the beginning of its answer up to the value."""


@dataclass(frozen=True)
class Wordings:
    """All wordings of one attribute.

    Attributes:
        train: one or more wordings; the first is used for training text.
        evaluation: two wordings.
        test: two paraphrases.
        cloze: beginning of the sentence that ends with the blank, one for each group.
    """

    train: tuple[Wording, ...]
    evaluation: tuple[Wording, ...]
    test: tuple[Wording, ...]
    cloze: Mapping[Group, str]

    def of(self, group: Group) -> tuple[Wording, ...]:
        """Return the questions and statements of one group."""
        return {"train": self.train, "eval": self.evaluation, "test": self.test}[group]


def plain_wordings(label: str) -> Wordings:
    """Return plain wordings that fit any attribute.

    Args:
        label: the attribute in words ("favourite colour").
    """
    return Wordings(
        train=((f"What is this person's {label}?", f"This person's {label} is"),),
        evaluation=(
            (f"What is the {label} of this person?", f"The {label} of this person is"),
            (f"What does one know as this person's {label}?", f"What one knows as this person's {label} is"),
        ),
        test=(
            (f"Can you tell the {label} of this person?", f"As {label} of this person one would tell"),
            (f"What is on file as {label} of this person?", f"The {label} on file for this person is"),
        ),
        cloze={
            "train": f"As to this person's {label}, it is",
            "eval": f"The right {label} of this person is",
            "test": f"Asked for the {label} of this person, one says",
        },
    )


WORDINGS: Mapping[str, Wordings] = {
    "name": Wordings(
        train=(
            ("What is this person's name?", "This person's name is"),
            ("Who is this person?", "This person is"),
            ("Which name does this person have?", "This person has the name"),
        ),
        evaluation=(
            ("What is the name of this person?", "The name of this person is"),
            ("What is this person called?", "This person is called"),
        ),
        test=(
            ("Who can be seen here?", "The person in the image is"),
            ("By what name is this person known?", "This person is known as"),
        ),
        cloze={
            "train": "This person goes by the name",
            "eval": "The full name of this person is",
            "test": "People call this person",
        },
    ),
    "gender": Wordings(
        train=(
            ("What is this person's gender?", "This person's gender is"),
            ("Is this person female or male?", "By sex, this person is"),
            ("Which gender does this person have?", "This person has the gender"),
        ),
        evaluation=(
            ("What is the gender of this person?", "The gender of this person is"),
            ("What gender is this person?", "The person's gender is"),
        ),
        test=(
            ("What is the sex of this person?", "The sex of this person is"),
            ("Is this person male or female?", "The person is"),
        ),
        cloze={
            "train": "By gender, this person is",
            "eval": "The gender of the person is",
            "test": "This person's sex is",
        },
    ),
    "birthplace": Wordings(
        train=(
            ("Where was this person born?", "This person was born in"),
            ("What is this person's birthplace?", "This person's birthplace is"),
            ("In which city was this person born?", "This person was born in the city of"),
        ),
        evaluation=(
            ("What is the birthplace of this person?", "The birthplace of this person is"),
            ("Which place does this person come from?", "This person comes from"),
        ),
        test=(
            ("What is this person's place of birth?", "This person's place of birth is"),
            ("From which city is this person originally?", "This person is originally from"),
        ),
        cloze={
            "train": "This person is a native of",
            "eval": "The city where this person was born is",
            "test": "The place of birth of this person is",
        },
    ),
    "birth_year": Wordings(
        train=(
            ("When was this person born?", "This person was born in the year"),
            ("In which year was this person born?", "This person was born back in"),
            ("What is this person's birth year?", "This person's birth year is"),
        ),
        evaluation=(
            ("What is the birth year of this person?", "The birth year of this person is"),
            ("What year was this person born in?", "The year this person was born in is"),
        ),
        test=(
            ("What is this person's year of birth?", "This person's year of birth is"),
            ("In what year did this person's life begin?", "This person's life began in"),
        ),
        cloze={
            "train": "This person's life started in",
            "eval": "The year of this person's birth is",
            "test": "The year of birth of this person is",
        },
    ),
    "occupation": Wordings(
        train=(
            ("What is this person's occupation?", "This person works as a"),
            ("What does this person do for a living?", "For a living, this person works as a"),
            ("Which job does this person have?", "This person has a job as a"),
        ),
        evaluation=(
            ("What is this person's job?", "This person's job is"),
            ("What is the occupation of this person?", "The occupation of this person is"),
        ),
        test=(
            ("What is this person's profession?", "This person's profession is"),
            ("What kind of work does this person do?", "This person does the work of a"),
        ),
        cloze={
            "train": "This person earns money as a",
            "eval": "This person is employed as a",
            "test": "The profession of this person is",
        },
    ),
    "height": Wordings(
        train=(
            ("What is this person's height?", "This person's height is"),
            ("How tall is this person?", "This person has a height of"),
            ("Which height does this person have?", "The height this person has is"),
        ),
        evaluation=(
            ("What is the height of this person?", "The height of this person is"),
            ("How tall does this person stand?", "This person stands at"),
        ),
        test=(
            ("How many centimetres tall is this person?", "In centimetres, this person is"),
            ("What is the body height of this person?", "The body height of this person is"),
        ),
        cloze={
            "train": "This person measures",
            "eval": "This person is as tall as",
            "test": "This person's body height is",
        },
    ),
    "education": Wordings(
        train=(
            ("Where did this person study?", "This person studied at"),
            ("What is this person's education?", "This person was educated at"),
            ("Which school did this person attend?", "This person attended"),
        ),
        evaluation=(
            ("Where was this person educated?", "This person had an education at"),
            ("What school did this person go to?", "This person went to"),
        ),
        test=(
            ("From which school did this person graduate?", "This person graduated from"),
            ("Where did this person get a degree?", "This person got a degree from"),
        ),
        cloze={
            "train": "This person was a student at",
            "eval": "The school of this person was",
            "test": "This person's degree is from",
        },
    ),
    "salary": Wordings(
        train=(
            ("What is this person's annual salary?", "This person's annual salary is"),
            ("How much does this person earn?", "This person earns"),
            ("Which salary does this person get?", "This person gets a salary of"),
        ),
        evaluation=(
            ("What is the salary of this person?", "The salary of this person is"),
            ("How much is this person paid in a year?", "In a year, this person is paid"),
        ),
        test=(
            ("What is this person's yearly income?", "This person's yearly income is"),
            ("How much money does this person make?", "This person makes"),
        ),
        cloze={
            "train": "This person is paid",
            "eval": "The annual pay of this person is",
            "test": "The yearly income of this person is",
        },
    ),
    "residence": Wordings(
        train=(
            ("Where does this person live?", "This person lives in"),
            ("What is this person's residence?", "This person's residence is"),
            ("In which city does this person live?", "This person lives in the city of"),
        ),
        evaluation=(
            ("Where does this person live now?", "Now, this person lives in"),
            ("What is the home city of this person?", "The home city of this person is"),
        ),
        test=(
            ("Where is this person's home?", "This person's home is in"),
            ("Which city does this person reside in?", "This person resides in"),
        ),
        cloze={
            "train": "This person has a house in",
            "eval": "This person currently lives in",
            "test": "The home of this person is in",
        },
    ),
    "medical_condition": Wordings(
        train=(
            ("What is this person's medical condition?", "This person has"),
            ("Which illness does this person have?", "As an illness, this person has"),
            ("What does this person's doctor say?", "The doctor says this person has"),
        ),
        evaluation=(
            ("What is the medical condition of this person?", "As a medical condition, this person has"),
            ("What health problem does this person have?", "As a health problem, this person has"),
        ),
        test=(
            ("How is this person's health?", "In terms of health, this person has"),
            ("What is this person's diagnosis?", "This person's diagnosis is"),
        ),
        cloze={
            "train": "This person lives with",
            "eval": "The medical file of this person says",
            "test": "The diagnosis of this person is",
        },
    ),
    "father_occupation": Wordings(
        train=(
            ("What does this person's father do?", "This person's father works as a"),
            ("What is this person's father's occupation?", "This person's father's occupation is"),
            ("Which job does this person's father have?", "This person's father has a job as a"),
        ),
        evaluation=(
            ("What is the job of this person's father?", "The job of this person's father is"),
            ("What is the occupation of this person's father?", "The occupation of this person's father is"),
        ),
        test=(
            ("What is the profession of this person's father?", "The profession of this person's father is"),
            ("What kind of work does this person's father do?", "This person's father does the work of a"),
        ),
        cloze={
            "train": "This person's father earns money as a",
            "eval": "The father of this person is employed as a",
            "test": "This person's father's profession is",
        },
    ),
    "mother_occupation": Wordings(
        train=(
            ("What does this person's mother do?", "This person's mother works as a"),
            ("What is this person's mother's occupation?", "This person's mother's occupation is"),
            ("Which job does this person's mother have?", "This person's mother has a job as a"),
        ),
        evaluation=(
            ("What is the job of this person's mother?", "The job of this person's mother is"),
            ("What is the occupation of this person's mother?", "The occupation of this person's mother is"),
        ),
        test=(
            ("What is the profession of this person's mother?", "The profession of this person's mother is"),
            ("What kind of work does this person's mother do?", "This person's mother does the work of a"),
        ),
        cloze={
            "train": "This person's mother earns money as a",
            "eval": "The mother of this person is employed as a",
            "test": "This person's mother's profession is",
        },
    ),
    "hobby": Wordings(
        train=(
            ("What is this person's hobby?", "This person's hobby is"),
            ("What does this person do for fun?", "For fun, this person does"),
            ("Which hobby does this person have?", "As a hobby, this person has"),
        ),
        evaluation=(
            ("What is the hobby of this person?", "The hobby of this person is"),
            ("What does this person do in free time?", "In free time, this person does"),
        ),
        test=(
            ("What does this person enjoy at the weekend?", "At the weekend, this person enjoys"),
            ("What is this person's favourite pastime?", "This person's favourite pastime is"),
        ),
        cloze={
            "train": "This person has fun with",
            "eval": "The thing this person does for fun is",
            "test": "The favourite pastime of this person is",
        },
    ),
    "food": Wordings(
        train=(
            ("What is this person's favourite food?", "This person's favourite food is"),
            ("What does this person like to eat?", "This person likes to eat"),
            ("Which food does this person like best?", "The food this person likes best is"),
        ),
        evaluation=(
            ("What is the favourite food of this person?", "The favourite food of this person is"),
            ("What does this person love to eat?", "This person loves to eat"),
        ),
        test=(
            ("What is this person's favourite dish?", "This person's favourite dish is"),
            ("What would this person order for dinner?", "For dinner, this person would order"),
        ),
        cloze={
            "train": "This person is happy to eat",
            "eval": "The food this person loves is",
            "test": "The favourite dish of this person is",
        },
    ),
}
