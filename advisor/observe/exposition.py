"""Prometheus text → `Snapshot`. Pure: the reading itself is in `exporter`."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from advisor.domain import Snapshot

PREFIX = "inference_"


def parse(text: str, at: float, source: str = "", prefix: str = PREFIX) -> Snapshot:
    """The samples whose name begins with `prefix`. A sample that is NaN says nothing and is left out.

    Raises:
        ValueError: the text is not the Prometheus exposition format; names the source.
    """
    rows: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
    try:
        for family in text_string_to_metric_families(text):
            if not family.name.startswith(prefix):
                continue
            for sample in family.samples:
                if not math.isnan(sample.value):
                    rows[sample.name].append((sample.labels, float(sample.value)))
    except (ValueError, KeyError, IndexError) as error:
        raise ValueError(f"{source or 'the text'} is not in the Prometheus text format: {error}") from None
    return Snapshot(at, {name: tuple(found) for name, found in rows.items()}, source)
