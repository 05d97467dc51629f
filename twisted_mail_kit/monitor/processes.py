"""What the system knows of our processes: prometheus_client reads it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from prometheus_client.process_collector import ProcessCollector

from twisted_mail_kit.metrics.plain import Plain

LABEL = "process"


def of_processes(pids: Mapping[str, int]) -> list[Plain]:
    """``process_cpu_seconds_total`` and so on, as `metrics.plain` has them; with a label where there are several."""
    found: dict[str, Plain] = {}
    has_label = set(pids) != {""}
    for name, pid in pids.items():
        # Without a registry: whoever embeds us has one of his own.
        for metric in ProcessCollector(pid=partial(int, pid), registry=None).collect():
            for sample in metric.samples:
                plain = found.setdefault(
                    sample.name,
                    {
                        "name": sample.name,
                        "kind": metric.type,
                        "text": metric.documentation,
                        "labels": [LABEL] if has_label else [],
                        "bounds": [],
                        "samples": [],
                    },
                )
                plain["samples"].append([[name] if has_label else [], sample.value])
    return list(found.values())
