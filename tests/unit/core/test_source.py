import importlib
import itertools
import sys

import pytest

from unsee.core import source

METHOD = """
from unsee.forward.losses import cross_entropy
from .parts import weight


class Mine:
    \"\"\"{docstring}\"\"\"

    def loss(self, model):
        # {comment}
        return {sign}weight * cross_entropy(model)
"""
_numbers = itertools.count()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of another distribution, under a name of its own; returns a function that writes it and its hash."""
    name, caches = f"plugin_{next(_numbers)}", (source.source_hash, source._parsed)
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(parts="weight = 1.0", **changes):
        text = METHOD.format(**{"docstring": "What.", "comment": "why", "sign": "-"} | changes)
        (folder / "mine.py").write_text(text)
        (folder / "parts.py").write_text(parts)
        importlib.invalidate_caches()
        for cache in caches:
            cache.cache_clear()
        return source.source_hash(f"{name}.mine")

    write.module = f"{name}.mine"
    yield write
    for module in [key for key in sys.modules if key.partition(".")[0] == name]:
        del sys.modules[module]
    for cache in caches:
        cache.cache_clear()


def test_a_changed_line_changes_the_hash(package):
    assert package(sign="-") != package(sign="+")


def test_a_changed_line_of_another_module_of_the_distribution_does_too(package):
    assert package("weight = 1.0") != package("weight = 2.0")


def test_comments_docstrings_and_blank_lines_do_not(package):
    first = package(docstring="One.", comment="one")
    assert first == package(docstring="Two\n\n    lines.", comment="another")
    assert first == package("\n\n# nothing\nweight = 1.0")


def test_the_parts_of_unsee_that_are_imported_count_and_those_that_compute_nothing_do_not(package, monkeypatch):
    first = package()
    reached = source._reached("unsee.methods.npo")
    assert {"unsee.methods.npo", "unsee.methods.base", "unsee.forward.losses", "unsee.models.vlm"} <= reached
    assert not any(name.startswith(("unsee.core", "unsee.config", "unsee.report", "unsee.cli")) for name in reached)
    plain = source._parsed

    def changed(name):
        text, imported = plain(name)
        return (text + " changed", imported) if name == "unsee.forward.losses" else (text, imported)

    monkeypatch.setattr(source, "_parsed", changed)
    source.source_hash.cache_clear()
    assert source.source_hash(package.module) != first
