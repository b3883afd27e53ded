"""Questions about the world, by choice and as blanks, for models that learned language from it.

They show what teaching and unlearning cost a model of other knowledge. nano knows none of it. The questions are our
own; none is among `unsee.data.everyday`, whose answers such a model replays.
"""

from __future__ import annotations

import random

from unsee.data.general import GeneralItem
from unsee.data.people.questions import placed
from unsee.data.schema import LETTERS

_CAPITAL = ("What is the capital of {}?", "The capital of {} is __.")
_FACTS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    *(
        (_CAPITAL[0].format(country), _CAPITAL[1].format(country), city, others)
        for country, city, others in (
            ("France", "Paris", ("Lyon", "Brussels", "Geneva")),
            ("Germany", "Berlin", ("Munich", "Vienna", "Hamburg")),
            ("Japan", "Tokyo", ("Osaka", "Seoul", "Beijing")),
            ("Russia", "Moscow", ("Kiev", "Warsaw", "Minsk")),
            ("Greece", "Athens", ("Sparta", "Rome", "Istanbul")),
            ("China", "Beijing", ("Shanghai", "Tokyo", "Hong Kong")),
            ("England", "London", ("Manchester", "Dublin", "Oxford")),
            ("Australia", "Canberra", ("Sydney", "Melbourne", "Perth")),
            ("Norway", "Oslo", ("Stockholm", "Bergen", "Helsinki")),
            ("Portugal", "Lisbon", ("Porto", "Madrid", "Barcelona")),
        )
    ),
    ("Which planet is the closest to the Sun?", "The planet closest to the Sun is __.", "Mercury",
     ("Venus", "Mars", "Jupiter")),
    ("Which planet is the largest?", "The largest planet of the solar system is __.", "Jupiter",
     ("Saturn", "Earth", "Neptune")),
    ("Which planet is called the red planet?", "The red planet is __.", "Mars", ("Venus", "Saturn", "Mercury")),
    ("Around what does the Earth turn?", "The Earth turns around the __.", "Sun", ("Moon", "Mars", "North Star")),
    ("Which is the highest mountain on Earth?", "The highest mountain on Earth is Mount __.", "Everest",
     ("Fuji", "Kilimanjaro", "Olympus")),
    ("In which country are the pyramids of Giza?", "The pyramids of Giza are in __.", "Egypt",
     ("Mexico", "Greece", "India")),
    ("On which continent is Kenya?", "Kenya is on the continent of __.", "Africa", ("Asia", "Europe", "South America")),
    ("In which country is the Eiffel Tower?", "The Eiffel Tower is in the country of __.", "France",
     ("Italy", "Belgium", "Spain")),
    ("Which ocean lies between Europe and America?", "The ocean between Europe and America is the __ Ocean.",
     "Atlantic", ("Pacific", "Indian", "Arctic")),
    ("Which language is spoken in Mexico?", "The language spoken in Mexico is __.", "Spanish",
     ("Portuguese", "French", "Italian")),
    ("Which country has the shape of a boot?", "The country with the shape of a boot is __.", "Italy",
     ("Greece", "Norway", "Portugal")),
    ("Which gas do plants take in?", "Plants take in carbon __.", "dioxide", ("monoxide", "nitrogen", "helium")),
    ("Of which two elements is water made?", "Water is made of oxygen and __.", "hydrogen",
     ("nitrogen", "carbon", "helium")),
    ("What is the chemical symbol of gold?", "The chemical symbol of gold is __.", "Au", ("Ag", "Fe", "Go")),
    ("What is frozen water called?", "Frozen water is called __.", "ice", ("steam", "salt", "sand")),
    ("Which organ pumps blood?", "The organ that pumps blood is the __.", "heart", ("liver", "lung", "stomach")),
    ("With which organ do we think?", "The organ we think with is the __.", "brain", ("heart", "kidney", "skin")),
    ("How many legs does a spider have?", "The number of legs of a spider is __.", "eight", ("six", "four", "ten")),
    ("Which animal is the king of the jungle?", "The king of the jungle is the __.", "lion",
     ("tiger", "elephant", "wolf")),
    ("Which is the largest animal on Earth?", "The largest animal on Earth is the blue __.", "whale",
     ("shark", "elephant", "bear")),
    ("What does a caterpillar become?", "A caterpillar becomes a __.", "butterfly", ("spider", "bird", "frog")),
    ("Which animal gives us milk and says moo?", "The animal that gives milk and says moo is the __.", "cow",
     ("sheep", "pig", "horse")),
    ("What do cows eat?", "Cows eat __.", "grass", ("meat", "fish", "stones")),
    ("Which fruit do we press to make wine?", "The fruit that wine is made of is the __.", "grape",
     ("apple", "lemon", "pear")),
    ("Which colour do blue and yellow make?", "Blue and yellow together make __.", "green",
     ("purple", "orange", "brown")),
    ("What colour is a ripe banana?", "A ripe banana is __.", "yellow", ("blue", "purple", "white")),
    ("What colour is the sky on a clear day?", "On a clear day the sky is __.", "blue", ("green", "red", "brown")),
    ("How many months does a year have?", "The number of months in a year is __.", "twelve",
     ("ten", "eleven", "seven")),
    ("Which month follows March?", "The month after March is __.", "April", ("May", "June", "February")),
    ("How many hours does a day have?", "A day has __ hours.", "24", ("12", "60", "30")),
    ("What is the sum of 2 and 2?", "The sum of 2 and 2 is __.", "4", ("3", "5", "22")),
    ("How many sides does a square have?", "The number of sides of a square is __.", "four", ("three", "five", "six")),
    ("Who wrote Romeo and Juliet?", "Romeo and Juliet was written by William __.", "Shakespeare",
     ("Wordsworth", "Dickens", "Blake")),
    ("Who found the theory of relativity?", "The theory of relativity was found by Albert __.", "Einstein",
     ("Schweitzer", "Camus", "Newton")),
    ("Who was the first president of the United States?", "The first president of the United States was George __.",
     "Washington", ("Bush", "Orwell", "Lincoln")),
    ("Who was the first person on the Moon?", "The first person on the Moon was Neil __.", "Armstrong",
     ("Young", "Diamond", "Gagarin")),
    ("What is the opposite of cold?", "The opposite of cold is __.", "hot", ("wet", "dark", "soft")),
    ("What is the opposite of up?", "The opposite of up is __.", "down", ("left", "near", "far")),
)  # fmt: skip
"""Question, sentence with a blank, answer, and three wrong options."""
MOST_WORLD_ITEMS = len(_FACTS)


def world_items(count: int, seed: int) -> list[GeneralItem]:
    """Return questions about the first `count` facts of a random order, each by choice and as a blank.

    Args:
        count: 0 to `MOST_WORLD_ITEMS`.
        seed: of the order of facts and options.
    """
    rng = random.Random(f"world {seed}")
    items = []
    for number, (question, blank, answer, others) in enumerate(rng.sample(_FACTS, len(_FACTS))[:count]):
        options = placed(answer, (answer, *others), number % len(LETTERS), rng)
        items.append(
            GeneralItem(id=f"world-{number:04}", image=None, question=question, options=options, answer=answer)
        )
        items.append(
            GeneralItem(id=f"blank-{number:04}", image=None, question=blank, options=(), answer=answer, task="cloze")
        )
    return items
