"""The source that reads a model server's metrics page when the exporter itself is scraped."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from exporters import names
from exporters.names import Metric
from exporters.samples import Measured, Sample, SourceDown
from exporters.servers import fetch, mapping
from exporters.servers.exposition import names_in, parse
from exporters.servers.preset import Preset, load, presets

_LOG = logging.getLogger(__name__)
AUTO = "auto"
FRESH = 1.0  # s: several scrapers of the exporter cost the model server one read
MOST_MODELS = 50  # of a server without an allow-list; further ones fall under `other`


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """What to read and how. `preset` None: recognise the server; `url` None: look at the usual addresses."""

    preset: Preset | None
    url: str | None

    @property
    def name(self) -> str:
        """The preset's name, or `auto`."""
        return self.preset.name if self.preset is not None else AUTO


def parse_target(text: str) -> ScrapeTarget:
    """A target from `triton=URL`, `mapping.toml=URL`, `URL` or `auto=URL` (recognised), `auto`, or `triton`.

    A preset without URL is read at the address that its server uses by default.

    Raises:
        ValueError: unknown preset, wrong URL, or a wrong mapping file (with its key).
    """
    given = text.strip()
    if given.startswith(("http://", "https://")):
        return ScrapeTarget(None, _checked_url(given))
    name, separator, url = (part.strip() for part in given.partition("="))
    checked = _checked_url(url) if separator else None
    if name == AUTO:
        return ScrapeTarget(None, checked)
    preset = load(Path(name)) if name.endswith(".toml") else presets().get(name)
    if preset is None:
        known = ", ".join(presets())
        raise ValueError(
            f"'{name}' is not a known server: write auto, a mapping file in .toml, or one of {known}"
        )
    if checked is None and preset.address is None:
        raise ValueError(f"'{text}' has no address: write {name}=http://HOST:PORT/metrics")
    return ScrapeTarget(preset, checked or preset.address)


def _checked_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:  # a port that is no number
        valid = False
    if not valid:
        raise ValueError(f"'{url}' is not an address: write http://HOST:PORT/metrics")
    return url


class ModelNames:
    """Label values from a server's names of models, bounded: label values are paid for by the whole stack."""

    def __init__(self, default: str, allowed: Collection[str] | None, *, merge: bool) -> None:
        self._default = default
        self._allowed = allowed
        self._merge = merge
        self._seen: set[str] = set()

    def __call__(self, named: str | None) -> str:
        """`default` where the server names none, `other` beyond the allow-list or the limit."""
        if named is None or self._merge:
            return self._default
        if self._allowed is not None:
            return named if named in self._allowed else names.OTHER_MODEL
        if named not in self._seen and len(self._seen) >= MOST_MODELS:
            return names.OTHER_MODEL
        self._seen.add(named)
        return named


class ScrapeSource:
    """Reads, recognises and normalises.

    `model`: label value where the server names no model; `allowed`: models that keep their name (None: the
    first `MOST_MODELS`); `merge`: all of them count as `model`; `skip`: metrics that another source already
    gives; `upstream`: the address that `auto` tries first.
    """

    def __init__(
        self,
        target: ScrapeTarget,
        model: str = names.DEFAULT_MODEL,
        *,
        allowed: Collection[str] | None = None,
        merge: bool = False,
        skip: Iterable[Metric] = (),
        upstream: str | None = None,
        get: Callable[[str], str] = fetch.get,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"scrape:{target.name}"
        self._target = target
        self._model = ModelNames(model, allowed, merge=merge)
        self._skip = frozenset(skip)
        self._upstream = upstream
        self._get = get
        self._clock = clock
        self._found: tuple[Preset, str] | None = None
        if target.preset is not None and target.url is not None:
            self._found = (target.preset, target.url)
        self._warned = False
        self._fresh_until = float("-inf")
        self._last: list[Measured] = []

    def collect(self) -> Iterator[Measured]:
        """See `Source.collect`."""
        if self._clock() >= self._fresh_until:
            self._last = [*self._read()]
            self._fresh_until = self._clock() + FRESH
        yield from self._last

    def _read(self) -> Iterator[Measured]:
        preset, url, text = self._page()
        try:
            exposition = parse(text, preset.wanted)
        except ValueError as error:
            raise SourceDown(f"{url}: {error}") from None
        samples, origins = mapping.apply(preset, exposition, self._model)
        if not samples and not self._warned:  # a server before its first request is up, and empty
            self._warned = True
            _LOG.warning(
                "%s has none of the metrics of %s yet: %s", url, preset.title, _shown(names_in(text))
            )
        yield from (sample for sample in samples if sample.metric not in self._skip)
        labels = {
            (self.name, preset.name, origin.metric.name, origin.text)
            for origin in origins
            if origin.metric not in self._skip
        }
        yield from (Sample(names.MAPPING_INFO, label, 1.0) for label in sorted(labels))

    def _page(self) -> tuple[Preset, str, str]:
        if self._found is not None:
            preset, url = self._found
            return preset, url, self._get(url)
        return self._recognised()

    def _recognised(self) -> tuple[Preset, str, str]:
        """The first address where a known server answers; tried again at every scrape until there is one."""
        tried: list[str] = []
        for url in self._addresses():
            try:
                text = self._get(url)
            except SourceDown as down:
                tried.append(str(down))
                continue
            preset = recognise(text)
            if preset is not None:
                self._found = (preset, url)
                return preset, url, text
            tried.append(f"{url} is no server known here: {_shown(names_in(text))}")
        hint = "name the server (--scrape triton=URL) or write a mapping file"
        if self._target.url is None:
            raise SourceDown(f"no known server at {', '.join(self._addresses())}: {hint}")
        raise SourceDown(f"{'; '.join(tried)}; {hint}")

    def _addresses(self) -> Iterator[str]:
        if self._target.url is not None:
            yield self._target.url
            return
        usual = [preset.address for preset in presets().values() if preset.address]
        first = [f"{self._upstream.rstrip('/')}/metrics"] if self._upstream else []
        yield from dict.fromkeys(first + usual)


def recognise(text: str) -> Preset | None:
    """The server that wrote this page: of those with a telling name in it, the one that fills most."""
    present = names_in(text)
    known = [preset for preset in presets().values() if not present.isdisjoint(preset.detect)]
    if not known:
        return None

    def filled(preset: Preset) -> int:
        samples, _ = mapping.apply(preset, parse(text, preset.wanted), str)
        return len({sample.metric for sample in samples})

    return max(known, key=filled)


def _shown(present: Collection[str]) -> str:
    """A few names of a page, so that its reader sees what it is."""
    return f"it has {', '.join(sorted(present)[:5])}, …" if present else "it has no metrics"
