"""A recommendation as text: the same for the API and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from advisor.domain import Recommendation
from advisor.outputs.documents import recommendation_document
from advisor.outputs.helm_values import helm_values_yaml
from advisor.outputs.hpa import hpa_yaml, patch_yaml
from advisor.outputs.keda import keda_yaml
from advisor.outputs.markdown import recommendation_markdown
from advisor.service.terms import policy_of
from advisor.settings import AdvisorSettings


class Format(StrEnum):
    """How a recommendation is written."""

    JSON = "json"
    HPA = "hpa"
    KEDA = "keda"
    HELM_VALUES = "helm-values"
    PATCH = "patch"
    MARKDOWN = "markdown"


MEDIA_TYPES: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.HPA: "application/yaml",  # RFC 9512
    Format.KEDA: "application/yaml",
    Format.HELM_VALUES: "application/yaml",
    Format.PATCH: "application/yaml",
    Format.MARKDOWN: "text/markdown; charset=utf-8",
}


def written(advice: Recommendation, form: Format, settings: AdvisorSettings) -> str:
    """The text of `form`.

    Raises:
        NotFound: a manifest is asked for, and the advice names no signal to scale on; says why.
    """
    policy = policy_of(settings.target(advice.target), settings.stale_after)
    match form:
        case Format.JSON:
            return recommendation_document(advice).model_dump_json(indent=2) + "\n"
        case Format.HPA:
            return hpa_yaml(advice, policy)
        case Format.KEDA:
            url = settings.prometheus.url if settings.prometheus else None
            return keda_yaml(advice, policy, url)
        case Format.HELM_VALUES:
            return helm_values_yaml(advice, policy)
        case Format.PATCH:
            return patch_yaml(advice, policy)
        case Format.MARKDOWN:
            return recommendation_markdown(advice)
