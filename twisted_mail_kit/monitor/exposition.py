"""The numbers in Prometheus' own words, by prometheus_client."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from twisted_mail_kit.metrics import catalogue as _catalogue  # noqa: F401  # they are there once they are defined
from twisted_mail_kit.metrics.instruments import numbers
from twisted_mail_kit.metrics.plain import Plain, explained


class Collected(Collector):
    """What was gathered, as a collector of prometheus_client's."""

    def __init__(self, gathered: Sequence[Plain]) -> None:
        self._gathered = gathered

    def collect(self) -> Iterable[Metric]:
        """prometheus_client asks."""
        for plain in self._gathered:
            yield _family(plain)


class OwnNumbers(Collector):
    """What this process has counted, for a registry of your own: ``REGISTRY.register(OwnNumbers())``."""

    def collect(self) -> Iterable[Metric]:
        """prometheus_client asks."""
        return map(_family, explained(numbers()))


def exposition(gathered: Sequence[Plain], accept: str = "") -> tuple[bytes, str]:
    """The page, and its content type: OpenMetrics where `accept`, the header field, asks for it, else the text format
    of Prometheus."""
    try:
        encode, content_type = choose_encoder(accept)
    except Exception:  # a version in it that is none
        encode, content_type = choose_encoder("")
    return encode(Collected(gathered)), content_type


def _family(plain: Plain) -> Metric:
    name, text, labels = plain["name"], plain["text"], plain["labels"]
    if plain["kind"] == "histogram":
        histogram = HistogramMetricFamily(name, text, labels=labels)
        for values, counts, total in plain["samples"]:
            histogram.add_metric(values, list(_buckets(plain["bounds"], counts)), total)
        return histogram
    make = CounterMetricFamily if plain["kind"] == "counter" else GaugeMetricFamily
    family = make(name, text, labels=labels)
    for values, value in plain["samples"]:
        family.add_metric(values, value)
    return family


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> Iterator[tuple[str, float]]:
    """Each bucket holds those below it too."""
    names = [*map(floatToGoString, bounds), "+Inf"]
    return zip(names, accumulate(counts), strict=True)
