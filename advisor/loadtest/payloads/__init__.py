"""Pools of requests, made before a run so that the load costs no thought."""

from advisor.loadtest.payloads.build import build_kinds

__all__ = ["build_kinds"]
