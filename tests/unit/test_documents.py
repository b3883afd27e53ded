"""Whatever command the documents show can be given: its options exist, and so do the keys it sets."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from unsee.cli import command as commands
from unsee.cli.listing import LISTS
from unsee.config.recipe import RunConfig, load_recipe, resolve
from unsee.runs.deletion import RequestConfig

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def shown(page):
    """The commands of a page: whole ones in blocks, and those with options in the running text."""
    text = page.read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`(?:\.venv/bin/)?(unsee [^`]* --[^`]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return [line for line in (*blocks.splitlines(), *inline) if line.startswith("unsee ")]


COMMANDS = [(page.name, line) for page in PAGES for line in shown(page)]


def parsed(words):
    """The name of a command and its options, as the command line reads them."""
    command = commands
    context = command.make_context("unsee", words)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return context.info_name, context.params


def test_there_are_commands():
    assert len(COMMANDS) > 20
    assert {page for page, _ in COMMANDS} >= {"README.md", "data.md", "judge.md", "protocols.md", "utility.md"}


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_can_be_given(page, line):
    name, given = parsed(shlex.split(line, comments=True)[1:])
    match name:
        case "run":
            load_recipe(given["recipe"], given["change"] or ())
        case "unlearn":
            method = {given["method"]: {"modality": [given["modality"]]}}
            resolve(RequestConfig, {"forget": "f", "retain": "r", "method": method}, given["change"] or ())
        case "list" if "kind" in given:
            assert given["kind"] in LISTS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_a_page_links_to_is_there(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_test_that_a_page_names_exists():
    defined = {
        name for path in ROOT.glob("tests/**/*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)
    }
    assert set(re.findall(r"`(test_\w+)`", (ROOT / "tests" / "README.md").read_text())) <= defined


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_key_a_page_names_exists(page):
    tables = {name: field.annotation for name, field in RunConfig.model_fields.items()}
    for table, key in re.findall(r"`(data|model|teach|unlearn|evaluation)\.(\w+)", page.read_text()):
        assert key in tables[table].model_fields, f"{table}.{key}"


def test_every_page_has_its_place_on_the_site():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    places = {place for section in nav for entries in section.values() for entry in entries for place in entry.values()}
    added = {"index.md", "documents.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {place for place in places if "/" not in place} == written | added
