"""Hashes of source code, so that results of code that has changed since are computed again."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

WITHOUT_NUMBERS = ("unsee.core", "unsee.config")
"""Packages that compute no number: their code decides what is asked for, and that is in every key already."""


@cache
def source_hash(module: str) -> str:
    """Return a hash of a module's code and of the code it imports from unsee or from its own distribution.

    Comments, docstrings and line breaks do not count; neither do the packages in `WITHOUT_NUMBERS`.
    """
    digest = hashlib.sha256()
    for name in sorted(_reached(module)):
        digest.update(f"{name} {_parsed(name)[0]}".encode())
    return digest.hexdigest()[:20]


def _reached(module: str) -> set[str]:
    """Return the module and everything of unsee or of its own top-level package that it imports, however far away."""
    reached, waiting = set[str](), [module]
    while waiting:
        name = waiting.pop()
        if name in reached or _without_numbers(name):
            continue
        reached.add(name)
        waiting += _parsed(name)[1]
    return reached


def _without_numbers(name: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in WITHOUT_NUMBERS)


@cache
def _parsed(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a module's code as text and the modules it imports; nothing where there is no source file."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        return "", ()
    tree = ast.parse(Path(spec.origin).read_bytes())
    package = name if spec.submodule_search_locations is not None else name.rpartition(".")[0] or name
    imported = dict[str, None]()
    for node in _statements(tree):
        imported |= dict.fromkeys(_imports(node, package))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (
            ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:]
    return ast.dump(tree), tuple(imported)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a module, every statement in it, and the parts of statements that hold statements."""
    yield node
    for name in ("body", "orelse", "handlers", "finalbody", "cases"):
        for statement in getattr(node, name, ()):
            yield from _statements(statement)


def _imports(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules of unsee and of the package's own distribution that a statement imports."""
    roots = ("unsee", package.partition(".")[0])
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names if alias.name.partition(".")[0] in roots)
    elif isinstance(node, ast.ImportFrom):
        base = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
        if base.partition(".")[0] in roots:
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names if _is_module(base, alias.name))


def _is_module(package: str, name: str) -> bool:
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    paths = [os.path.join(folder, name) for folder in folders]
    return any(os.path.isfile(f"{path}.py") or os.path.isdir(path) for path in paths)
