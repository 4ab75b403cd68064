"""The model server's own metrics, read and normalised: one declarative file per server in `presets/`."""

from exporters.servers.scrape import ScrapeSource, ScrapeTarget, parse_target

__all__ = ["ScrapeSource", "ScrapeTarget", "parse_target"]
