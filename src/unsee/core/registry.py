"""The registry of leaves: one file per method, metric, model family or dataset, imported by name when it is used.

A leaf is a module that registers its own file name. Listing reads files as text and imports none of them. So it needs
no torch, and a leaf that cannot be imported breaks only itself.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from unsee.core.errors import ConfigError, UnknownNameError, UnseeError

log = logging.getLogger(__name__)

Entry = TypeVar("Entry", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Leaf:
    """The entry of one leaf in a listing, read without importing it.

    Attributes:
        name: the registered name, which is the file's name.
        module: the module that registers it.
        summary: the first line of its docstring.
        paper: its source, as in `register`, or "".
        label: the name as a reader would write it; by default with spaces for underscores.
        distribution: the distribution that adds it; "" for unsee itself.
    """

    name: str
    module: str
    summary: str
    paper: str = ""
    label: str = ""
    distribution: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name.replace("_", " "))


class Registry:
    """The names of one kind of leaf.

    Args:
        kind: the word for a leaf in messages ("method").
        package: the package whose modules are the leaves ("unsee.methods").
        group: the entry-point group where other distributions add leaves; the value is `module:attribute`.
    """

    def __init__(self, kind: str, *, package: str, group: str) -> None:
        self.kind = kind
        self.package = package
        self.group = group
        self._entries: dict[str, Callable[..., Any]] = {}

    def register(self, name: str, *, paper: str = "", label: str = "") -> Callable[[Entry], Entry]:
        """Decorate the class or function that is the leaf `name`.

        Args:
            name: the name of the leaf; in the package of the registry also the name of its file.
            paper: the source, for listings ("arXiv:2404.05868").
            label: the name as a reader would write it, for tables and pages ("NPO").

        Raises:
            ConfigError: the name differs from that of the file, or another leaf has it.
        """
        del paper, label  # read from the source text by `leaves`, which imports nothing

        def hold(entry: Entry) -> Entry:
            package, _, file = entry.__module__.rpartition(".")
            if package == self.package and file != name:
                raise ConfigError(f"{self.kind} '{name}': registered in {file}.py; the file must be called {name}.py")
            held = self._entries.setdefault(name, entry)
            if _origin(held) != _origin(entry):
                raise ConfigError(
                    f"{self.kind} '{name}': registered twice, by {_origin(held)} and {_origin(entry)}; rename one"
                )
            self._entries[name] = entry
            return entry

        return hold

    def names(self) -> list[str]:
        """Return every name, sorted, importing no leaf."""
        return sorted(self._leaves)

    def leaves(self) -> list[Leaf]:
        """Return the listing of every leaf, sorted by name, importing none."""
        return [self._leaves[name][0] for name in self.names()]

    def get(self, name: str) -> Any:
        """Import the one module that registers `name` and return what it registered.

        Raises:
            UnknownNameError: no leaf has this name.
            ConfigError: several leaves have the name, or its module cannot be imported or does not register it.
        """
        if name not in self._leaves:
            raise UnknownNameError(self.kind, name, self.names())
        first, *others = self._leaves[name]
        if others:
            raise ConfigError(
                f"{self.kind} '{name}': registered twice, by {first.module} and {others[0].module}; rename one"
            )
        try:
            importlib.import_module(first.module)
        except UnseeError:
            raise
        except Exception as error:  # an import runs the module, so anything can go wrong
            raise ConfigError(f"{self.kind} '{name}': {first.module} cannot be imported: {_reason(error)}") from error
        if name not in self._entries:
            raise ConfigError(f"{self.kind} '{name}': {first.module} was imported but does not register this name")
        return self._entries[name]

    def usable(self) -> dict[str, Any]:
        """Import every leaf and return what they registered, by name, sorted.

        A leaf that cannot be used is left out, and a warning says why.
        """
        entries = {}
        for name in self.names():
            try:
                entries[name] = self.get(name)
            except UnseeError as error:
                log.warning("%s; it is left out", error)
        return entries

    def name_of(self, entry: Callable[..., Any]) -> str:
        """Return the name of a registered object, or its path in the code if it is not registered."""
        return next((name for name, held in self._entries.items() if held is entry), _origin(entry))

    @cached_property
    def _leaves(self) -> dict[str, list[Leaf]]:
        """All leaves by name; two leaves with one name are an error for that name alone."""
        found = [leaf for path in self._files() if (leaf := _read_leaf(path, path.stem, f"{self.package}.{path.stem}"))]
        found += [_entry_point_leaf(point) for point in metadata.entry_points(group=self.group)]
        leaves: dict[str, list[Leaf]] = {}
        for leaf in found:
            leaves.setdefault(leaf.name, []).append(leaf)
        return leaves

    def _files(self) -> list[Path]:
        spec = importlib.util.find_spec(self.package)
        folders = spec.submodule_search_locations or [] if spec else []
        return sorted(path for folder in folders for path in Path(folder).glob("[!_]*.py"))


def _origin(entry: Callable[..., Any]) -> str:
    return f"{entry.__module__}.{entry.__qualname__}"


def _reason(error: Exception) -> str:
    """Return the reason why an import failed, with file and line."""
    what = (str(error).strip() or "no reason given").splitlines()[0]
    own = (importlib.__file__, __file__)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename not in own]
    frames = [frame for frame in frames if not frame.filename.startswith("<")]  # of Python's own importing
    if frames and not isinstance(error, SyntaxError):  # which says where by itself
        what += f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"
    return f"{type(error).__name__}: {what}"


def _entry_point_leaf(point: metadata.EntryPoint) -> Leaf:
    """Return the leaf of another distribution, read from its module's file."""
    path = _source(point.module)
    leaf = _read_leaf(path, point.name, point.module) if path else None
    leaf = leaf or Leaf(name=point.name, module=point.module, summary="" if path else "has no source file")
    return replace(leaf, distribution=point.dist.name if point.dist else "")


def _source(module: str) -> Path | None:
    """Return the file of a module, importing neither it nor the packages that hold it."""
    package, *parts = module.split(".")
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    places = [Path(folder, *parts) for folder in spec.submodule_search_locations or ()] if parts else []
    files = [file for place in places for file in (place.with_name(f"{place.name}.py"), place / "__init__.py")]
    return next((file for file in files or [Path(spec.origin or "")] if file.suffix == ".py" and file.is_file()), None)


def _read_leaf(path: Path, name: str, module: str) -> Leaf | None:
    """Return the leaf of a file that registers something under the name; None for any other file."""
    text = path.read_text(encoding="utf-8")
    if ".register(" not in text:
        return None
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        return Leaf(name=name, module=module, summary=f"cannot be read: {error.msg}, line {error.lineno}")
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(ast.Attribute(attr="register"), [ast.Constant(str(found))], keywords) if (
                        found == name
                    ):
                        summary = (ast.get_docstring(node) or "").partition("\n")[0]
                        paper, label = (_text(keywords, key) for key in ("paper", "label"))
                        return Leaf(name=name, module=module, summary=summary, paper=paper, label=label)
    return None


def _text(keywords: list[ast.keyword], key: str) -> str:
    """Return the text of a keyword argument; "" if it is no literal text."""
    for keyword in keywords:
        match keyword:
            case ast.keyword(str(found), ast.Constant(str(text))) if found == key:
                return text
    return ""
