"""Durations, ratios and objectives as people write them: `150ms`, `0.1%`, `p95=150ms`. Pure."""

from __future__ import annotations

import math
import re
from functools import partial

from advisor.domain import LatencyBound, Slo

_DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>us|µs|ms|s|m|h|d)?")
_SECONDS = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, None: 1.0}
_BYTES = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[kMGT]|[KMGT]i)?B?")
_SIZES = {None: 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    f"{unit}i": 1024.0**power for power, unit in enumerate("KMGT", 1)
}
_SURELY_MS = 30.0  # s: nobody asks for a latency so long without its unit
_QUANTILE = re.compile(r"(?P<prefix>ttft_|itl_)?p(?P<percent>\d{1,2}(?:\.\d+)?|99\d+)")


def parse_duration(text: str | float) -> float:
    """Seconds from `150ms`, `45s`, `20m`, `1.5h`, `2d` or a plain number of seconds.

    Raises:
        ValueError: with the text and the accepted forms.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        seconds = float(text)
    else:
        match = _DURATION.fullmatch(str(text).strip())
        if match is None:
            raise ValueError(f"'{text}' is not a duration: write 150ms, 45s, 20m or 1h")
        seconds = float(match["number"]) * _SECONDS[match["unit"]]
    if not 0 < seconds < math.inf:
        raise ValueError(f"'{text}' is not a duration: it must be above zero and finite")
    return seconds


def parse_ratio(text: str | float) -> float:
    """A share in 0..1 from `0.1%` or `0.001`.

    Raises:
        ValueError: outside 0..1, or not a number.
    """
    raw = str(text).strip()
    try:
        value = float(raw[:-1]) / 100 if raw.endswith("%") else float(raw)
    except ValueError:
        raise ValueError(f"'{text}' is not a ratio: write 0.1% or 0.001") from None
    if not 0 <= value <= 1:
        raise ValueError(f"'{text}' is not a ratio: it must lie between 0 and 1 (or 0% and 100%)")
    return value


def parse_cores(text: str | float) -> float:
    """Cores from a Kubernetes quantity: `1`, `0.5`, `500m`.

    Raises:
        ValueError: not a quantity of CPU above zero.
    """
    raw = str(text).strip()
    try:
        cores = float(raw[:-1]) / 1000 if raw.endswith("m") else float(raw)
    except ValueError:
        cores = 0.0
    if not 0 < cores < float("inf"):
        raise ValueError(f"'{text}' is not a quantity of CPU: write 1, 0.5 or 500m")
    return cores


def parse_bytes(text: str | float) -> float:
    """Bytes from a Kubernetes quantity: `2Gi`, `500Mi`, `1.5G`, or a plain number.

    Raises:
        ValueError: not a quantity of memory above zero.
    """
    match = _BYTES.fullmatch(str(text).strip())
    value = float(match["number"]) * _SIZES[match["unit"]] if match is not None else 0.0
    if not value:
        raise ValueError(f"'{text}' is not a quantity of memory: write 2Gi, 500Mi or 1.5G")
    return value


def parse_quantile(name: str) -> float:
    """0.95 from `p95`, 0.999 from `p99.9` or `p999`.

    Raises:
        ValueError: not a percentile name.
    """
    match = _QUANTILE.fullmatch(name)
    if match is None or match["prefix"]:
        raise ValueError(f"'{name}' is not a latency percentile: write p50, p95, p99 or p99.9")
    percent = match["percent"]
    digits = f"{percent[:2]}.{percent[2:]}" if "." not in percent and len(percent) > 2 else percent
    value = float(digits) / 100
    if not 0 < value < 1:
        raise ValueError(f"'{name}' is not a latency percentile: it must lie between p1 and p99.99")
    return round(value, 8)


def quantile_name(quantile: float) -> str:
    """`p95` from 0.95, `p99.9` from 0.999."""
    return f"p{quantile * 100:.6g}"


def _parse_bound(text: str, bare_below: float = 0.0) -> float:
    """Seconds of a latency bound as a person writes it: 100 would be read as ms by one, as s by another.

    `bare_below`: numbers without a unit are seconds up to here.
    """
    bare = text.strip()
    if bare.replace(".", "", 1).isdecimal() and float(bare) >= bare_below:
        raise ValueError(f"'{bare}' has no unit: write {bare}ms or {bare}s")
    return parse_duration(text)


def parse_slo(terms: list[str], default_error_ratio: float = 0.001, *, bare_seconds: bool = False) -> Slo:
    """An objective from terms such as `p95=150ms`, `ttft_p95=300ms`, `itl_p95=50ms`, `error_ratio=0.1%`.

    `bare_seconds`: a bound without a unit is in seconds, as everywhere in the API, unless it is so high that
    ms were meant; else it is a mistake.

    Raises:
        ValueError: names the term that is wrong.
    """
    latency: list[LatencyBound] = []
    ttft: list[LatencyBound] = []
    itl: list[LatencyBound] = []
    error_ratio = default_error_ratio
    bound = partial(_parse_bound, bare_below=_SURELY_MS if bare_seconds else 0.0)
    for term in terms:
        name, separator, value = term.partition("=")
        name = name.strip()
        if not separator:
            raise ValueError(f"'{term}' is not an objective: write p95=150ms or error_ratio=0.1%")
        if name == "error_ratio":
            error_ratio = parse_ratio(value)
        elif name.startswith("ttft_"):
            ttft.append(LatencyBound(parse_quantile(name.removeprefix("ttft_")), bound(value)))
        elif name.startswith("itl_"):
            itl.append(LatencyBound(parse_quantile(name.removeprefix("itl_")), bound(value)))
        else:
            latency.append(LatencyBound(parse_quantile(name), bound(value)))
    _no_quantile_twice(latency, "")
    _no_quantile_twice(ttft, "ttft_")
    _no_quantile_twice(itl, "itl_")
    return Slo(tuple(sorted(latency)), error_ratio, tuple(sorted(ttft)), tuple(sorted(itl)))


def amend_slo(base: Slo, terms: list[str], *, bare_seconds: bool = False) -> Slo:
    """`base` with the bounds of `terms` in place of its own of the same name; the others stay.

    `bare_seconds` as in `parse_slo`.

    Raises:
        ValueError: names the term that is wrong.
    """
    asked = parse_slo(terms, base.error_ratio, bare_seconds=bare_seconds)

    def merged(old: tuple[LatencyBound, ...], new: tuple[LatencyBound, ...]) -> tuple[LatencyBound, ...]:
        stated = {bound.quantile for bound in new}
        return tuple(sorted([*(bound for bound in old if bound.quantile not in stated), *new]))

    return Slo(
        merged(base.latency, asked.latency),
        asked.error_ratio,
        merged(base.ttft, asked.ttft),
        merged(base.itl, asked.itl),
    )


def _no_quantile_twice(bounds: list[LatencyBound], prefix: str) -> None:
    quantiles = [bound.quantile for bound in bounds]
    for quantile in quantiles:
        if quantiles.count(quantile) > 1:
            raise ValueError(f"{prefix}{quantile_name(quantile)} has two bounds: give one")


def format_seconds(seconds: float) -> str:
    """`3.2 ms`, `150 ms`, `1.5 s`, `2 min 5 s`, `1 h 30 min`: three digits at most."""
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def format_rate(rate: float) -> str:
    """`85.3/s` of requests a second, `1200/s`: three digits below 1000."""
    return f"{rate:.3g}/s" if rate < 999.5 else f"{rate:.0f}/s"


def format_share(share: float) -> str:
    """`99.95 %`: two decimals, never rounded up to 100."""
    percent = int(share * 10_000 + 1e-9) / 100
    return f"{percent:.2f} %"
