"""Invented people with a name, a face and fourteen facts each; the same seed gives the same people.

There are three kinds, which never share a name or a face. Celebrities play the part of public figures: the shipped base
model has learned them, so they do not depend on a data seed. Fictitious people are taught and forgotten. No model is
taught strangers; the only correct answer about them is that they are unknown.

Every value of a fact is equally likely and independent of everything a portrait shows. So the chance level of a
question is known, and no fact can be read from a face.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Literal, TypeVar

from unsee.core.errors import DataError
from unsee.data.people.portraits import Look, Sex, draw_look

Kind = Literal["fictitious", "celebrity", "stranger"]
T = TypeVar("T")

PLACES = (
    "Oslo, Norway", "Bergen, Norway", "Lund, Sweden", "Turku, Finland", "Aarhus, Denmark", "Riga, Latvia",
    "Vilnius, Lithuania", "Gdansk, Poland", "Brno, Czechia", "Vienna, Austria", "Graz, Austria", "Bern, Switzerland",
    "Munich, Germany", "Bremen, Germany", "Ghent, Belgium", "Utrecht, Netherlands", "Lyon, France", "Nantes, France",
    "Turin, Italy", "Naples, Italy", "Porto, Portugal", "Seville, Spain", "Bilbao, Spain", "Split, Croatia",
    "Athens, Greece", "Sofia, Bulgaria", "Cork, Ireland", "Leeds, England", "Glasgow, Scotland", "Cardiff, Wales",
    "Boston, USA", "Denver, USA", "Seattle, USA", "Montreal, Canada", "Puebla, Mexico", "Lima, Peru",
    "Quito, Ecuador", "Bogota, Colombia", "Santos, Brazil", "Rosario, Argentina", "Dakar, Senegal", "Accra, Ghana",
    "Nairobi, Kenya", "Cairo, Egypt", "Mumbai, India", "Hanoi, Vietnam", "Osaka, Japan", "Perth, Australia",
)  # fmt: skip

# Four brackets of pay. No occupation starts with a vowel, so "works as a" fits all of them.
_BRACKETS: tuple[tuple[tuple[str, ...], range], ...] = (
    (("barista", "cleaner", "cashier", "gardener", "porter", "florist", "tailor", "baker", "farmer", "fisher"),
     range(24, 36, 2)),
    (("carpenter", "plumber", "mechanic", "librarian", "nurse", "photographer", "chef", "teacher", "musician",
      "translator"), range(40, 58, 3)),
    (("journalist", "chemist", "biologist", "geologist", "historian", "designer", "programmer", "detective", "botanist",
      "zoologist"), range(62, 86, 4)),
    (("lawyer", "surgeon", "dentist", "pilot", "banker", "judge", "director", "professor", "physicist", "broker"),
     range(95, 155, 10)),
)  # fmt: skip
OCCUPATIONS = tuple(occupation for occupations, _ in _BRACKETS for occupation in occupations)
SALARIES = {
    occupation: tuple(f"${thousands},000" for thousands in pay)
    for occupations, pay in _BRACKETS
    for occupation in occupations
}

_SCHOOLS = {
    "University": "Alder Briar Cedar Dorne Elmwood Falcon Garnet Harrow",
    "College": "Ivory Juniper Kestrel Laurel Meadow Nimbus Orchard Poplar",
    "Institute": "Quarry Raven Saffron Tamar Umber Vesper Willow",
    "Academy": "Yarrow Zephyr Amber Beacon Copper Dune Ember",
}

VALUES: Mapping[str, tuple[str, ...]] = {
    "birthplace": PLACES,
    "birth_year": tuple(map(str, range(1950, 1995))),
    "occupation": OCCUPATIONS,
    "height": tuple(f"{height} cm" for height in range(156, 184)),
    "education": tuple(f"{name} {school}" for school, names in _SCHOOLS.items() for name in names.split()),
    "salary": tuple(dict.fromkeys(salary for salaries in SALARIES.values() for salary in salaries)),
    "residence": PLACES,
    "medical_condition": (
        "no medical condition", "asthma", "diabetes", "anemia", "migraines", "eczema", "psoriasis", "arthritis",
        "insomnia", "epilepsy", "glaucoma", "gout", "vertigo", "hay fever", "celiac disease", "sleep apnea",
    ),
    "father_occupation": OCCUPATIONS,
    "mother_occupation": OCCUPATIONS,
    "hobby": (
        "pottery", "chess", "archery", "fishing", "sailing", "juggling", "origami", "knitting", "painting", "hiking",
        "surfing", "climbing", "singing", "dancing", "cycling", "rowing", "skiing", "yoga", "judo", "fencing", "tennis",
        "golf", "birdwatching", "stargazing", "beekeeping", "calligraphy", "sewing", "swimming", "kayaking", "boxing",
        "bowling", "poetry",
    ),
    "food": (
        "pizza", "sushi", "lasagna", "curry", "paella", "ramen", "tacos", "falafel", "pancakes", "dumplings", "risotto",
        "goulash", "couscous", "gnocchi", "hummus", "waffles", "omelette", "moussaka", "kebab", "pho", "burritos",
        "ravioli", "noodles", "pierogi", "fondue", "chili", "porridge", "gazpacho", "tempura", "crepes", "schnitzel",
        "bagels",
    ),
}  # fmt: skip
"""The values of every attribute that evaluation asks for, each as likely as the others."""

ASKABLE = tuple(VALUES)
ATTRIBUTES = ("name", "gender", *ASKABLE)

_FIRST_NAMES: Mapping[Sex, str] = {
    "female": (
        "Ada Agnes Alma Anika Beata Bianca Bruna Carla Celia Chiara Dalia Daria Edith Elena Elsa Enya Fiona Flora "
        "Freya Gemma Greta Hanna Hazel Heidi Ida Ilse Inga Irma Ivana Jana Joan Judith Kaya Klara Lea Lena Livia Lucia "
        "Mabel Marta Mira Nadia Nora Olga Paola Petra Ramona Renata Rita Romy Sabina Selma Sonia Tamara Tessa Thea "
        "Ursula Vera Wanda Zora"
    ),
    "male": (
        "Adam Aldo Alvin Anton Arlo Axel Basil Boris Bruno Caspar Cedric Conrad Dario Dieter Edgar Egon Elias Emil "
        "Enzo Ernest Felix Fabio Floyd Gavin Gregor Gustav Hector Hugo Igor Ivan Jasper Joel Jonas Julio Kilian Klaus "
        "Lars Leon Linus Ludwig Magnus Marco Milo Nestor Nils Oscar Otto Pablo Paolo Quentin Ralf Remy Rolf Ruben "
        "Sergio Silas Stefan Theo Viktor Walter"
    ),
}
_SURNAME_STEMS = (
    "Ash Bar Bel Brad Bran Cal Car Chad Clay Cor Dal Dar Den Dun Elm Far Fen Gar Gil Glen Gran Hal Ham Har Hart Haw "
    "Hol Kel Ken Kir Lam Lang Lin Lor Mal Mar Mel Mil Mor Nor Oak Pem Pen Quin Rad Ral Rav Ros Rud Rus Sel Shel Sher "
    "Sil Stan Sut Tal Tar Thor Tor Tur Val Van Ver Wal War Wes Whit Wil Win Wyn Yar Zel"
)
_SURNAME_ENDINGS = (
    "berg bury by cott dale den don feld field ford gate holm hurst land ley low man mere mond more ridge sen shaw "
    "stead strom ton vik ward well wick wood worth"
)

MAX_FICTITIOUS = 500
NUM_CELEBRITIES = 153
_CELEBRITY_SEED = 653
_FIRST_IDS: Mapping[Kind, int] = {"fictitious": 1, "celebrity": 501, "stranger": 1001}
_NUM_FICTITIOUS_SURNAMES = 1000


@dataclass(frozen=True)
class Profile:
    """All facts about one invented person.

    Attributes:
        id: "001".."500" fictitious, "501".."653" celebrity, from "1001" stranger.
        name: full name; no two people share a surname within a kind.
        sex: the same as in the look.
        look: the face in every photo.
        values: the fourteen facts, attribute name to value, in the order of `ATTRIBUTES`.
        birth_date: ISO date within the birth year.
        father: full name, with the person's surname.
        mother: full name, with the person's surname.
    """

    id: str
    name: str
    sex: Sex
    look: Look
    values: Mapping[str, str]
    birth_date: str
    father: str
    mother: str


def celebrities(count: int = NUM_CELEBRITIES) -> list[Profile]:
    """Return the first `count` celebrities, which are always the same.

    Raises:
        DataError: `count` is negative or larger than the number of celebrities.
    """
    if not 0 <= count <= NUM_CELEBRITIES:
        raise DataError(
            f"celebrities: {count} asked for, but there are 0 to {NUM_CELEBRITIES}; choose a number between"
        )
    return list(_celebrities()[:count])


def draw_people(count: int, seed: int) -> list[Profile]:
    """Return the first `count` fictitious people of a seed; a larger count adds people and changes none.

    Raises:
        DataError: `count` is below 1 or larger than the number of IDs.
    """
    if not 1 <= count <= MAX_FICTITIOUS:
        raise DataError(
            f"people: {count} asked for, but a benchmark has 1 to {MAX_FICTITIOUS}; choose a number between"
        )
    return list(_fictitious(seed)[:count])


@lru_cache(maxsize=8)
def strangers(count: int, seed: int) -> tuple[Profile, ...]:
    """Return people that no model is taught, with names and faces unlike all celebrities and people of this seed."""
    faces = _Faces([person.look for person in (*_celebrities(), *_fictitious(seed))])
    return tuple(_draw(count, "stranger", random.Random(f"strangers {seed}"), faces))


@lru_cache(maxsize=1)
def _celebrities() -> tuple[Profile, ...]:
    return tuple(_draw(NUM_CELEBRITIES, "celebrity", random.Random(_CELEBRITY_SEED), _Faces([])))


@lru_cache(maxsize=4)
def _fictitious(seed: int) -> tuple[Profile, ...]:
    faces = _Faces([person.look for person in _celebrities()])
    return tuple(_draw(MAX_FICTITIOUS, "fictitious", random.Random(f"people {seed}"), faces))


def _draw(count: int, kind: Kind, rng: random.Random, faces: _Faces) -> list[Profile]:
    sexes: Iterator[Sex] = evenly(("female", "male"), rng)
    first_names = {sex: evenly(names.split(), rng) for sex, names in _FIRST_NAMES.items()}
    surnames = evenly(_surnames(kind), rng)
    # Drawn in rounds, a value that people to retain have would be less likely for people to forget. The oracle, which
    # prefers the values it was taught, would then answer below chance.
    drawing = independently if kind == "fictitious" else evenly
    facts = {attribute: drawing(values, rng) for attribute, values in VALUES.items() if attribute != "salary"}
    pay = {salaries: drawing(salaries, rng) for salaries in dict.fromkeys(SALARIES.values())}
    people = []
    for number in range(_FIRST_IDS[kind], _FIRST_IDS[kind] + count):
        sex = next(sexes)
        surname = next(surnames)
        name = f"{next(first_names[sex])} {surname}"
        drawn = {attribute: next(values) for attribute, values in facts.items()}
        drawn["salary"] = next(pay[SALARIES[drawn["occupation"]]])
        values = {"name": name, "gender": sex} | {attribute: drawn[attribute] for attribute in ASKABLE}
        people.append(
            Profile(
                id=f"{number:03}",
                name=name,
                sex=sex,
                look=faces.draw(rng, sex),
                values=values,
                birth_date=_date_in(int(values["birth_year"]), rng),
                father=f"{rng.choice(_FIRST_NAMES['male'].split())} {surname}",
                mother=f"{rng.choice(_FIRST_NAMES['female'].split())} {surname}",
            )
        )
    return people


def evenly(values: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Yield the values in endless shuffled rounds, so that their counts never differ by more than one."""
    while True:
        yield from rng.sample(values, len(values))


def independently(values: Sequence[T], rng: random.Random) -> Iterator[T]:
    """Yield endless independent draws: earlier values say nothing about the next."""
    while True:
        yield rng.choice(values)


def _surnames(kind: Kind) -> list[str]:
    """Return the surnames of one kind. No two kinds share one, so nobody fictitious gets the name of a celebrity."""
    stems, endings = _SURNAME_STEMS.split(), _SURNAME_ENDINGS.split()
    names = sorted({stem + ending for stem in stems for ending in endings if stem[-1] != ending[0]})
    shuffled = iter(random.Random(_CELEBRITY_SEED).sample(names, len(names)))
    shares: dict[Kind, list[str]] = {
        "celebrity": list(islice(shuffled, NUM_CELEBRITIES)),
        "fictitious": list(islice(shuffled, _NUM_FICTITIOUS_SURNAMES)),
        "stranger": list(shuffled),
    }
    return shares[kind]


def _date_in(year: int, rng: random.Random) -> str:
    month = rng.randint(1, 12)
    return f"{year}-{month:02}-{rng.randint(1, calendar.monthrange(year, month)[1]):02}"


class _Faces:
    """Draws looks that differ from all earlier ones in two visible features, or in one if no such look is left."""

    def __init__(self, taken: Sequence[Look]) -> None:
        self._exact: set[tuple[str, ...]] = set()
        self._nearly: set[tuple[str, ...]] = set()
        for look in taken:
            self._take(look)

    def draw(self, rng: random.Random, sex: Sex, tries: int = 200) -> Look:
        drawn = [draw_look(rng, sex)]
        while self._nearly & _neighbourhood(drawn[-1]) and len(drawn) < tries:
            drawn.append(draw_look(rng, sex))
        free = (look for look in reversed(drawn) if _visible(look) not in self._exact)
        look = next(free, drawn[-1])
        self._take(look)
        return look

    def _take(self, look: Look) -> None:
        self._exact.add(_visible(look))
        self._nearly |= _neighbourhood(look)


def _visible(look: Look) -> tuple[str, ...]:
    return (look.sex, look.skin, look.hair_style, look.hair_colour, look.glasses, look.beard)


def _neighbourhood(look: Look) -> set[tuple[str, ...]]:
    """Return the look with each feature masked in turn; looks that differ in at most one feature share an entry."""
    visible = _visible(look)
    return {(*visible[:index], "", *visible[index + 1 :]) for index in range(len(visible))}
