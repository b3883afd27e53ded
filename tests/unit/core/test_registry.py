import sys
import textwrap
from importlib import metadata

import pytest

from unsee.core.errors import ConfigError, UnknownNameError
from unsee.core.registry import Registry

LEAF = '''
"""Module text that no listing shows."""
from leaves import LEAVES


@LEAVES.register("{name}", paper="arXiv:0000.00001")
class Leaf:
    """Says what it is.

    And more.
    """
'''


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry over a package written for the test; `write(name, text)` adds a module to it."""
    package = tmp_path / "leaves"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from unsee.core.registry import Registry\nLEAVES = Registry('leaf', package='leaves', group='test.leaves')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    write(package, "first", LEAF.format(name="first"))
    write(package, "second", LEAF.format(name="second"))
    write(package, "base", "class Base: ...\n")
    import leaves

    leaves.LEAVES.folder = package
    yield leaves.LEAVES
    for name in [name for name in sys.modules if name.partition(".")[0] == "leaves"]:
        del sys.modules[name]


def write(package, name, text):
    (package / f"{name}.py").write_text(textwrap.dedent(text))


def add_entry_point(monkeypatch, name, value):
    point = metadata.EntryPoint(name, value, "test.leaves")
    monkeypatch.setattr(metadata, "entry_points", lambda group: [point])


def test_listing_reads_leaves_and_imports_none(registry):
    assert registry.names() == ["first", "second"]
    assert registry.leaves()[0].summary == "Says what it is."
    assert registry.leaves()[0].paper == "arXiv:0000.00001"
    assert "leaves.first" not in sys.modules


def test_get_imports_one_module(registry):
    assert registry.get("first").__name__ == "Leaf"
    assert "leaves.first" in sys.modules
    assert "leaves.second" not in sys.modules


def test_an_unknown_name_says_the_nearest(registry):
    with pytest.raises(UnknownNameError, match="leaf: unknown name 'frist'; did you mean 'first'"):
        registry.get("frist")


def test_a_broken_leaf_breaks_only_itself(registry):
    write(registry.folder, "broken", '@LEAVES.register("broken")\nclass Broken(:\n')
    assert registry.names() == ["broken", "first", "second"]
    assert "line 2" in registry.leaves()[0].summary
    assert registry.get("first")
    with pytest.raises(
        ConfigError, match=r"leaf 'broken': leaves\.broken cannot be imported: SyntaxError: .* line 2\)"
    ):
        registry.get("broken")


def test_a_leaf_whose_import_fails_says_why_and_where(registry):
    write(registry.folder, "broken", "import nowhere\n" + LEAF.format(name="broken"))
    with pytest.raises(ConfigError, match=r"ModuleNotFoundError: No module named 'nowhere' \(broken\.py, line 1\)"):
        registry.get("broken")


def test_usable_leaves_are_all_but_those_that_a_warning_names(registry, caplog):
    write(registry.folder, "broken", "import nowhere\n" + LEAF.format(name="broken"))
    assert list(registry.usable()) == ["first", "second"]
    assert [record.getMessage() for record in caplog.records] == [
        "leaf 'broken': leaves.broken cannot be imported: ModuleNotFoundError: No module named 'nowhere' "
        "(broken.py, line 1); it is left out"
    ]


def test_a_leaf_bears_its_files_name(registry):
    write(registry.folder, "third", LEAF.format(name="other"))
    assert "third" not in registry.names()
    with pytest.raises(ConfigError, match=r"registered in third\.py; the file must be called other\.py"):
        import leaves.third  # noqa: F401


def test_other_distributions_plug_in(registry, monkeypatch, tmp_path):
    (tmp_path / "plugin.py").write_text(LEAF.format(name="third"))
    add_entry_point(monkeypatch, "third", "plugin:Leaf")
    assert registry.names() == ["first", "second", "third"]
    assert registry.get("third").__module__ == "plugin"


def test_a_plug_in_is_described_by_its_own_docstring_and_not_imported(registry, monkeypatch, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "more" / "third.py").write_text(LEAF.format(name="third"))
    add_entry_point(monkeypatch, "third", "more.third:Leaf")
    leaf = registry.leaves()[-1]
    assert (leaf.name, leaf.summary, leaf.paper) == ("third", "Says what it is.", "arXiv:0000.00001")
    with pytest.raises(ConfigError, match=r"RuntimeError: imported \(__init__\.py, line 1\)"):
        registry.get("third")


def test_a_plug_in_without_a_file_is_listed_and_breaks_only_itself(registry, monkeypatch):
    add_entry_point(monkeypatch, "third", "nowhere:Leaf")
    assert registry.leaves()[-1].summary == "has no source file"
    with pytest.raises(ConfigError, match="leaf 'third': nowhere cannot be imported: ModuleNotFoundError"):
        registry.get("third")


def test_a_double_name_breaks_only_itself(registry, monkeypatch):
    add_entry_point(monkeypatch, "first", "plugin:Leaf")
    assert registry.names() == ["first", "second"]
    assert registry.get("second")
    with pytest.raises(ConfigError, match=r"registered twice, by leaves\.first and plugin"):
        registry.get("first")


def test_a_module_that_registers_elsewhere_says_so(registry):
    write(registry.folder, "third", LEAF.format(name="third") + "\nLEAVES._entries.clear()\n")
    with pytest.raises(ConfigError, match=r"leaves\.third was imported but does not register this name"):
        registry.get("third")


def test_two_registrations_of_one_name_raise():
    registry = Registry("leaf", package="nowhere", group="test.leaves")
    registry.register("name")(test_get_imports_one_module)
    with pytest.raises(ConfigError, match="registered twice"):
        registry.register("name")(test_a_double_name_breaks_only_itself)


def test_a_leaf_says_how_it_is_written_or_is_written_with_spaces(registry, monkeypatch, tmp_path):
    (tmp_path / "third_party.py").write_text(LEAF.format(name="third").replace('0.00001"', '0.00001", label="3rd"'))
    add_entry_point(monkeypatch, "third", "third_party:Leaf")
    write(registry.folder, "one_word", LEAF.format(name="one_word"))
    write(registry.folder, "kept", LEAF.format(name="kept").replace('0.00001"', '0.00001", label="KepT"'))
    labels = {leaf.name: leaf.label for leaf in registry.leaves()}
    assert labels == {"first": "first", "second": "second", "one_word": "one word", "kept": "KepT", "third": "3rd"}
    assert registry.get("kept") and registry.get("third")
