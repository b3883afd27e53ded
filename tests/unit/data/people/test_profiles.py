from collections import Counter
from dataclasses import replace

import pytest

from unsee.core.errors import DataError
from unsee.data.people.profiles import (
    ASKABLE,
    ATTRIBUTES,
    NUM_CELEBRITIES,
    SALARIES,
    VALUES,
    celebrities,
    draw_people,
    strangers,
)


def test_same_seed_same_people_and_a_larger_count_only_adds():
    assert draw_people(9, seed=3) == draw_people(60, seed=3)[:9]
    assert draw_people(9, seed=3) != draw_people(9, seed=4)


@pytest.mark.parametrize("seed", [0, 7])
def test_nobody_shares_a_name_or_a_face_across_kinds(seed):
    people = [*celebrities(), *draw_people(500, seed), *strangers(100, seed)]
    assert len({person.name for person in people}) == len(people)
    assert len({person.id for person in people}) == len(people)
    assert len({replace(person.look, nose="") for person in people}) == len(people)  # a nose is hard to see


@pytest.mark.slow
def test_no_seed_makes_a_namesake_of_a_celebrity():
    surnames = {person.name.split()[1] for person in celebrities()}
    for seed in range(2):
        others = [*draw_people(500, seed), *strangers(500, seed)]
        assert surnames.isdisjoint(person.name.split()[1] for person in others)


def test_surnames_are_unique_within_a_kind():
    for people in (celebrities(), draw_people(500, 0)):
        assert len({person.name.split()[1] for person in people}) == len(people)


@pytest.mark.parametrize("count", [9, 60, 153])
def test_every_pool_of_the_public_figures_is_drawn_evenly(count):
    people = celebrities(count)
    for attribute in set(ASKABLE) - {"salary"}:
        counts = Counter(person.values[attribute] for person in people)
        assert max(counts.values()) - min(counts[value] for value in VALUES[attribute]) <= 1, attribute
    for salaries in set(SALARIES.values()):
        counts = Counter(person.values["salary"] for person in people)
        assert max(counts[salary] for salary in salaries) - min(counts[salary] for salary in salaries) <= 1


def test_values_of_other_people_say_nothing_about_an_invented_person():
    own, any_value = [], []
    for seed in range(12):
        people = draw_people(60, seed)
        for attribute in ("birthplace", "birth_year", "occupation", "hobby"):
            counts = Counter(person.values[attribute] for person in people)
            own += [counts[person.values[attribute]] - 1 for person in people]  # others with the same value
            any_value.append(59 / len(VALUES[attribute]))
    assert sum(own) / len(own) == pytest.approx(sum(any_value) / len(any_value), rel=0.1)


def test_facts_are_consistent():
    for person in (*celebrities(), *draw_people(60, 0)):
        assert tuple(person.values) == ATTRIBUTES
        assert person.values["name"] == person.name
        assert person.values["gender"] == person.sex == person.look.sex
        assert person.values["salary"] in SALARIES[person.values["occupation"]]
        assert person.birth_date.startswith(person.values["birth_year"])
        surname = person.name.split()[1]
        assert person.father.endswith(f" {surname}") and person.mother.endswith(f" {surname}")


def test_values_are_short_distinct_and_fit_after_an_article():
    for attribute, values in VALUES.items():
        assert len(set(values)) == len(values) >= 16
        assert all(value.isascii() and len(value.split()) <= 3 for value in values)
        if attribute.endswith("occupation"):
            assert all(value[0] not in "aeiou" for value in values)


@pytest.mark.parametrize("count", [0, 501])
def test_more_people_than_there_are_is_an_error(count):
    with pytest.raises(DataError, match=str(count)):
        draw_people(count, 0)


@pytest.mark.parametrize("count", [-1, NUM_CELEBRITIES + 1])
def test_more_celebrities_than_there_are_is_an_error(count):
    with pytest.raises(DataError, match=str(count)):
        celebrities(count)
