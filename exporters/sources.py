"""Sources beside the proxy, from what the person gave: model servers' own metrics, processes, GPUs.

What reads each kind is imported when it is asked for: a sidecar that only proxies stays small.
"""

from __future__ import annotations

from collections.abc import Sequence

from exporters import names
from exporters.samples import Source

# The proxy counts these of every request: the server's own would count each a second time.
_OF_THE_PROXY = frozenset({names.REQUEST_DURATION, names.IN_FLIGHT})


def build_sources(
    *,
    scrapes: Sequence[str] = (),
    processes: Sequence[str] = (),
    gpu: str = "off",
    models: Sequence[str] = (names.DEFAULT_MODEL,),
    upstream: tuple[str, int] | None = None,
) -> list[Source]:
    """Scrapes, then processes, then GPUs, ready to collect; nothing is read yet.

    Model names of a scraped server: with one name in `models`, behind the proxy or given by the person, all
    of the server is that model; several names are an allow-list; else the server's own names are kept.

    Raises:
        ValueError: an option's value is wrong; begins with the option.
    """
    explicit = tuple(models) != (names.DEFAULT_MODEL,)
    one = len(models) == 1 and (explicit or upstream is not None)
    taken = _OF_THE_PROXY if upstream is not None else frozenset[names.Metric]()
    sources: list[Source] = []
    if scrapes:
        sources += _scrapes(
            scrapes,
            models[0],
            allowed=models if explicit else None,
            merge=one,
            skip=taken,
            upstream=None if upstream is None else _url(upstream),
        )
    watched = None
    if processes:
        from exporters.process import parse_target, process_source

        try:
            watched = process_source([parse_target(text) for text in processes], models[0])
        except ValueError as error:
            raise ValueError(f"--process: {error}") from None
        sources.append(watched)
    if gpu != "off":
        from exporters.gpu import OFF, GpuSource, parse_selection

        try:
            selection = parse_selection(gpu)
        except ValueError as error:
            raise ValueError(f"--gpu: {error}") from None
        if selection != OFF:
            sources.append(GpuSource(selection, models[0], pids=getattr(watched, "pids", None)))
    return sources


def _scrapes(
    texts: Sequence[str],
    model: str,
    *,
    allowed: Sequence[str] | None,
    merge: bool,
    skip: frozenset[names.Metric],
    upstream: str | None,
) -> list[Source]:
    from exporters.servers import ScrapeSource, parse_target

    sources: dict[str, Source] = {}
    for text in texts:
        try:
            target = parse_target(text)
        except ValueError as error:
            raise ValueError(f"--scrape: {error}") from None
        source = ScrapeSource(target, model, allowed=allowed, merge=merge, skip=skip, upstream=upstream)
        if source.name in sources:
            raise ValueError(f"--scrape: '{text}' reads a second {target.name}: run two sidecars")
        sources[source.name] = source
    return [*sources.values()]


def _url(address: tuple[str, int]) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
