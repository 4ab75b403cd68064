"""Is a manifest valid for a Kubernetes? By kubernetes-validate, which would read its schemas each time."""

from __future__ import annotations

from functools import cache

import kubernetes_validate
from kubernetes_validate import utils

utils.schema_contents = cache(utils.schema_contents)
utils.all_versions = cache(utils.all_versions)

LATEST = kubernetes_validate.latest_version()
# From the first that has native sidecars without a feature gate.
VERSIONS = [f"1.{minor}" for minor in range(29, int(LATEST.split(".")[1]) + 1)]


def validate(manifest: dict, version: str) -> None:
    """Raises ValidationError; a key that the schema does not know is one too."""
    kubernetes_validate.validate(manifest, version, strict=True)
