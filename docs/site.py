"""Adds to the site of the documents what lies elsewhere: README, CONTRIBUTING, CHANGELOG, and a reference of the code.

mkdocs calls the functions whose names begin with `on_` (mkdocs.yml: hooks).
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
LEAVES = ("methods", "attacks", "metrics")
PYTHON = {
    "Questions and scores": ["unsee.evaluation"],
    "Losses": ["unsee.losses"],
    "Models, people, pairs": [
        "unsee.models.vlm.VLM",
        "unsee.data.people.source.open_benchmark",
        "unsee.data.people.builder.build",
        "unsee.data.pairs.load_pairs",
    ],
    "Edits": ["unsee.edits.edit.Editor", "unsee.edits.edit.Edit"],
    "Runs": ["unsee.config.recipe.load_recipe", "unsee.runs.run.run"],
    "What a method may be": ["unsee.methods.base"],
    "What an attack may be": ["unsee.attacks.base"],
    "What a metric is": ["unsee.metrics.base"],
}
RECIPES = [
    "unsee.config.recipe.RunConfig",
    "unsee.config.recipe.DocumentsConfig",
    "unsee.config.tables",
    "unsee.config.protocols",
]
# What stands where on the site, by its place from the project's root.
MOVED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "docs/README.md": "documents.md",
}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are not files of docs/."""
    files.remove(files.get_file_from_path("README.md"))
    for source, place in MOVED.items():
        text = _relinked((ROOT / source).read_text(), PurePosixPath(source), PurePosixPath(place))
        files.append(File.generated(config, place, content=text))
    sections = {f"## {title}": names for title, names in PYTHON.items()}
    pages = {"python": _reference("Python", sections), "recipes": _reference("Recipes", {"": RECIPES})}
    for kind in LEAVES:
        names = [
            f"unsee.{kind}.{path.stem}"
            for path in sorted((ROOT / "src/unsee" / kind).glob("[a-z]*.py"))
            if path.stem != "base"
        ]
        pages[kind] = _reference(kind.capitalize(), {"": names})
    for name, text in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make the links of a page lead to where things are on the site."""
    place = PurePosixPath(page.file.src_uri)
    return markdown if page.file.generated_by else _relinked(markdown, PurePosixPath("docs") / place, place)


def _reference(title: str, sections: dict[str, list[str]]) -> str:
    """Return a page whose parts mkdocstrings fills in from the docstrings."""
    parts = [f"# {title}"]
    for heading, names in sections.items():
        parts += [heading, *(f"::: {name}" for name in names)]
    return "\n\n".join(parts)


def _relinked(text: str, source: PurePosixPath, place: PurePosixPath) -> str:
    """Return a text with the links that its place on the site needs; what is not on the site becomes plain text."""

    def link(found: re.Match[str]) -> str:
        picture, words, target, anchor = found[1], found[2], found[3], found[4] or ""
        if not target or "://" in target:
            return found[0]
        path = PurePosixPath(os.path.normpath(source.parent / target))
        if path.is_relative_to("docs/results") and not path.suffix:
            path /= "README.md"
        new = MOVED.get(str(path)) or (str(path.relative_to("docs")) if path.is_relative_to("docs") else "")
        if not new or not (picture or new.endswith(".md") or (ROOT / path).is_file()):
            return words
        return f"{picture}[{words}]({os.path.relpath(new, place.parent)}{anchor})"

    return _LINK.sub(link, text)
