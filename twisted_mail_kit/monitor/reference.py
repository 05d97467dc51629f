"""The reference of all metrics, in Markdown, made from their definitions."""

from __future__ import annotations

from pathlib import Path

from twisted_mail_kit.metrics import catalogue as _catalogue  # noqa: F401  # they are there once they are defined
from twisted_mail_kit.metrics.instruments import Metric, every
from twisted_mail_kit.metrics.limits import LIMITS
from twisted_mail_kit.reference import write_below

MARK = "<!-- made by `python -m twisted_mail_kit.monitor.reference`; do not edit below -->\n"
_TOGETHER = {"sum": "added up", "max": "the greatest", "min": "the least"}


def reference() -> str:
    """Every metric, and every limit that is counted."""
    lines = [
        "## All metrics",
        "",
        "| metric | kind | labels | meaning | of several processes |",
        "|---|---|---|---|---|",
    ]
    lines += [_row(metric) for metric in sorted(every(), key=lambda one: one.name)]
    lines += ["", "## Limits", "", "| `limit` | what there was too much of (and the setting) |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in LIMITS.items()]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {metric.text} | {_TOGETHER[metric.over]} |"


def main() -> None:
    """Write the reference into docs/metrics.md of the working tree."""
    write_below(Path("docs/metrics.md"), MARK, reference())


if __name__ == "__main__":
    main()
