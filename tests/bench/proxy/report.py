"""The figures as a table: what, measured, what the design asks for, whether it is met."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]
Row = tuple[str, str, str, str]


def _row(what: str, measured: str, reach: str = "", *, met: bool | None = None) -> Row:
    return what, measured, reach, "" if met is None else "yes" if met else "NO"


def rows(figures: Figures) -> list[Row]:
    """One line for each number that the design asks for, and those that explain them."""
    return [*_processor(figures), *_latency(figures), *_memory(figures), *_metrics(figures)]


def _processor(figures: Figures) -> list[Row]:
    names = {
        "cpu_1kb_c16": "CPU per request, 1 kB POST, 16 connections",
        "cpu_1kb_c16_traced": "the same, each head new (traceparent)",
        "cpu_1mb_c4": "the same, 1 MB POST, 4 connections",
        "connections_512": "the same, 1 kB POST, 512 connections",
    }
    found = []
    for key, what in names.items():
        one, other, third = (figures[key][name] for name in ("sidecar", "haproxy", "nginx"))
        measured = (
            f"{one['ratio_haproxy']} × HAProxy ({one['us_per_request']} µs; {other['us_per_request']},"
            f" nginx {third['us_per_request']})"
        )
        asked = key == "cpu_1kb_c16"
        met = one["ratio_haproxy"] <= 1.3 if asked else None
        found.append(_row(what, measured, "≤ 1.3 ×" if asked else "", met=met))
    return found


def _latency(figures: Figures) -> list[Row]:
    added, lag = figures["added_p50"], figures["stream_lag"]
    loads = [figures[key]["sidecar"] for key in ("cpu_1kb_c16", "cpu_1mb_c4", "connections_512")]
    errors = sum(load["errors"] for load in loads)
    found = [
        _row(
            "added p50, one connection",
            f"{added['sidecar']['added_us']} µs (HAProxy {added['haproxy']['added_us']},"
            f" nginx {added['nginx']['added_us']})",
            "≤ HAProxy + 30 µs",
            met=added["sidecar"]["beyond_haproxy_us"] <= 30,
        )
    ]
    for key, what in (("connections_512", "p99, 512 connections"), ("cpu_1mb_c4", "p99, 1 MB POST")):
        ratio = figures[key]["sidecar"]["p99_ratio_haproxy"]
        found.append(_row(what, f"{ratio} × HAProxy", "≤ 2 ×", met=ratio <= 2))
    found.append(_row("errors in these loads", str(errors), "0", met=errors == 0))
    found.append(
        _row(
            "streamed event, written to read",
            f"{lag['sidecar']['p50_us']} µs, the first {lag['sidecar']['first_us']} µs (HAProxy"
            f" {lag['haproxy']['p50_us']} and {lag['haproxy']['first_us']}, direct {lag['model']['p50_us']})",
            "first not delayed",
            met=lag["sidecar"]["first_us"] <= lag["haproxy"]["first_us"] + 1000,
        )
    )
    return found


def _memory(figures: Figures) -> list[Row]:
    rss = figures["rss_mib"]
    measured = (
        f"{rss['sidecar_idle']} MiB idle, {rss['sidecar_after']} after all of this"
        f" (HAProxy {rss['haproxy_after']}, nginx {rss['nginx_after']})"
    )
    return [_row("resident memory", measured, "≤ 40 MB", met=rss["sidecar_after"] <= 40)]


def _metrics(figures: Figures) -> list[Row]:
    cost, scrape, seen = figures["metrics"], figures["scrape"], figures["scrape_visibility"]
    return [
        _row(
            "metrics per request",
            f"{cost['counting_ns']} ns, and {cost['two_clock_reads_ns']} ns for two readings of the clock",
            "≤ 1 µs",
            met=cost["counting_ns"] <= 1000,
        ),
        _row(
            f"scrape of {scrape['series']} series",
            f"{scrape['ms']} ms, the first {scrape['first_ms']} ms",
            "≤ 10 ms",
            met=scrape["ms"] <= 10,
        ),
        _row(
            "request p50 with 20 scrapes/s",
            f"{seen['p50_us_scraped']} µs, without {seen['p50_us_alone']} µs"
            f" (p95 {seen['p95_us_scraped']} and {seen['p95_us_alone']})",
            "invisible",
            met=seen["p50_us_scraped"] <= 1.1 * seen["p50_us_alone"],
        ),
    ]
