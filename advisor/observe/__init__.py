"""Where numbers come in."""

from advisor.observe.exporter import ExporterReader, Recorder, Unreadable
from advisor.observe.exposition import parse

__all__ = ["ExporterReader", "Recorder", "Unreadable", "parse"]
