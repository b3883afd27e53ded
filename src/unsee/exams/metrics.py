"""The metrics of an evaluation: every registered metric with its options."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from typing import Any, cast

from unsee.config.recipe import EvaluationConfig, MetricTable, build_dataclass
from unsee.core.errors import ConfigError
from unsee.core.record import is_reserved
from unsee.core.source import source_hash
from unsee.metrics import METRICS
from unsee.metrics.base import Metric

log = logging.getLogger(__name__)


def make_metrics(config: EvaluationConfig, tables: Mapping[str, MetricTable]) -> dict[str, Metric]:
    """Return every registered metric by its name; one that cannot be used is left out, and a warning says why.

    An option is a key of `[evaluation]` where that table has such a key, else of `[metric.NAME]`, else the default.

    Args:
        config: the table `[evaluation]`.
        tables: the tables `[metric.NAME]` by name.

    Raises:
        UnknownNameError: a table names no metric.
        ConfigError: an option is wrong, or a table names a metric that cannot be used.
    """
    for name in tables:
        METRICS.get(name)
    metrics = {}
    for name, cls in METRICS.usable().items():
        reason = _why_unusable(name, cls)
        if reason and name in tables:
            raise ConfigError(reason)
        if reason:
            log.warning("%s; it is left out", reason)
        else:
            metrics[name] = _make(name, cls, config, tables[name].options if name in tables else {})
    return metrics


def metrics_key(metrics: Mapping[str, Metric]) -> list[object]:
    """Return names, options and code of metrics, for the key of answers."""
    return [[name, asdict(metric), source_hash(type(metric).__module__)] for name, metric in metrics.items()]  # type: ignore[call-overload]


def _why_unusable(name: str, cls: type[Any]) -> str:
    """Return the reason why a class is no metric, as a sentence; "" if it is one."""
    if is_reserved(name):
        return f"metric {name}: the answers have a column of this name; register it under another"
    if not is_dataclass(cls) or not all(hasattr(cls, wanted) for wanted in ("tasks", "better", "score")):
        return f"metric {name}: must be a dataclass with `tasks`, `better` and `score`; see unsee.metrics"
    return ""


def _make(name: str, cls: type[Any], config: EvaluationConfig, options: Mapping[str, object]) -> Metric:
    shared = {field.name for field in fields(cls)} & EvaluationConfig.model_fields.keys()
    if twice := sorted(shared & options.keys()):
        raise ConfigError(f"metric.{name}.{twice[0]}: is a key of [evaluation]; set evaluation.{twice[0]}")
    own = {key: getattr(config, key) for key in shared}
    made: Any = build_dataclass(cls, own | dict(options), f"metric.{name}")
    return cast(Metric, made)
