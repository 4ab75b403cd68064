"""Where numbers come in."""

from advisor.observe.events import EventReader, Events
from advisor.observe.exporter import ExporterReader, Recorder, Unreadable
from advisor.observe.exposition import parse

__all__ = ["EventReader", "Events", "ExporterReader", "Recorder", "Unreadable", "parse"]
