"""Which model a request is for, read from its path. Pure; a body is never looked into."""

from __future__ import annotations

import re

# Open Inference Protocol (KServe, Triton, MLServer), TensorFlow Serving, TorchServe
_MODEL = re.compile(rb"/(?:v1/models|v2/models|predictions|explanations)/(?P<model>[^/:?#]+)(?:[/:?#]|$)")
_TELLS_TOKENS = re.compile(rb"/(?:completions|responses|embeddings|messages)(?:\?|$)")


def model_in_path(target: bytes) -> str | None:
    """The model that a path names: `iris` in `/v2/models/iris/infer`, `/v1/models/iris:predict`."""
    match = _MODEL.search(target)
    return match["model"].decode("ascii", "replace") if match else None


def tells_tokens(target: bytes) -> bool:
    """Whether the answer has the OpenAI form, with a `usage` object."""
    return _TELLS_TOKENS.search(target) is not None
