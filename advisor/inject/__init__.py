"""Puts the sidecar into Kubernetes manifests, and takes it out again. Pure: text in, text out."""

from advisor.inject.manifests import Outcome, inject, remove
from advisor.inject.sidecar import Sidecar

__all__ = ["Outcome", "Sidecar", "inject", "remove"]
