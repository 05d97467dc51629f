"""Numbers with their meaning, as JSON has them: whoever reads them needs nothing else, nor the same version."""

from __future__ import annotations

from typing import Any

from twisted_mail_kit.metrics.instruments import Numbers, Value, every

Plain = dict[str, Any]
"""One metric: ``name``, ``kind``, ``text``, ``labels``, ``bounds`` (of a histogram), ``samples``: each the values of
its labels and a number, or a histogram's counts by bucket and their sum."""


def explained(numbers: Numbers) -> list[Plain]:
    """Those of `numbers` that this version knows."""
    return [
        {
            "name": metric.name,
            "kind": metric.kind,
            "text": metric.text,
            "labels": list(metric.labels),
            "bounds": list(metric.bounds),
            "samples": [_sample(labels, value) for labels, value in sorted(numbers[metric.name].items())],
        }
        for metric in every()
        if metric.name in numbers
    ]


def _sample(labels: tuple[str, ...], value: Value) -> list[Any]:
    return [list(labels), *value] if isinstance(value, tuple) else [list(labels), value]
