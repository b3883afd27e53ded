"""From the table `[privacy]` of a recipe to the pictures and questions of a run about documents."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from unsee.config.recipe import GENERATED, OutOfDomainTable, PrivacyConfig
from unsee.core.errors import ConfigError
from unsee.core.files import intact
from unsee.core.progress import Progress
from unsee.data.documents import PRIVACY
from unsee.data.documents.base import PrivacyFormat
from unsee.data.documents.builder import BUILDER_VERSION, build
from unsee.data.documents.privacy_pair import load
from unsee.data.documents.schema import OUT_OF_DOMAIN, SEEN, Case, PrivacyBenchmark
from unsee.runtime.cache import Cache, key_of, make_folder


def open_documents(config: PrivacyConfig, cache: Cache, progress: Progress) -> PrivacyBenchmark:
    """Return the benchmark; build it, in the cache, where documents are invented."""
    unseen = config.unseen_subject or None
    if config.source != GENERATED:
        reader: PrivacyFormat = PRIVACY.get(config.format)(skip_missing=config.skip_missing)
        folder, images = Path(config.source), Path(config.image_root) if config.image_root else None
        return reader.load_without(unseen, folder, images) if unseen else reader.load(folder, images)
    folder = cache.path("documents", key_of("documents", BUILDER_VERSION, config.images, config.seed, unseen))
    if not intact(folder):
        with progress.task("documents", 1) as advance:
            make_folder(folder, partial(build, images=config.images, seed=config.seed, unseen_subject=unseen))
            advance(1)
    return load(folder)


def with_other_benchmarks(
    benchmark: PrivacyBenchmark, tables: Mapping[str, OutOfDomainTable], *, skip_missing: bool = False
) -> tuple[PrivacyBenchmark, int]:
    """Add the cases of other benchmarks, without those whose picture is edited on.

    Returns:
        The benchmark with the added cases, and how many cases were left out.

    Raises:
        ConfigError: one has sets of its own.
        UnseeError: no benchmark has this name, or its data cannot be used.
    """
    others = [_other(name, table, skip_missing) for name, table in tables.items()]
    elsewhere = [case for other in others for case in other.cases]
    added = _not_among(benchmark.of(SEEN), elsewhere)
    skipped = benchmark.skipped + sum(other.skipped for other in others)
    return replace(benchmark, cases=(*benchmark.cases, *added), skipped=skipped), len(elsewhere) - len(added)


def first_pictures(cases: Sequence[Case], count: int) -> list[Case]:
    """Return the first so many pictures of each subject; all for 0."""
    subjects = [case.subject for case in cases]
    return [case for number, case in enumerate(cases) if not count or subjects[:number].count(case.subject) < count]


def _other(name: str, table: OutOfDomainTable, skip_missing: bool) -> PrivacyBenchmark:
    """Return another benchmark, with its name in the IDs of its cases."""
    reader: PrivacyFormat = PRIVACY.get(name)(skip_missing=skip_missing)
    other = reader.load(Path(table.source), Path(table.image_root) if table.image_root else None)
    if any(case.split != OUT_OF_DOMAIN for case in other.cases):
        raise ConfigError(
            f"privacy.out_of_domain.{name}: has sets of its own; give it as privacy.source and privacy.format"
        )
    return replace(other, cases=tuple(replace(case, id=f"{name}/{case.id}") for case in other.cases))


def _not_among(seen: Sequence[Case], cases: Sequence[Case]) -> list[Case]:
    """Return the cases whose picture is not edited on, by content: no model is measured on what it was edited on."""
    edited = {hashlib.sha256(case.image.read_bytes()).digest() for case in seen} if cases else set()
    return [case for case in cases if hashlib.sha256(case.image.read_bytes()).digest() not in edited]
