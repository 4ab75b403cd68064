"""Completions as OpenAI's API takes them: of a chat, or of a text where the path is /completions."""

from __future__ import annotations

import json

import numpy as np

from advisor.loadtest.payloads.files import JSON_HEADERS
from advisor.loadtest.payloads.sizes import Sizes
from advisor.loadtest.protocol import Prepared
from advisor.settings import OpenAiChatSettings

# Short common words: close to one token each, so that a number of words is about a number of tokens.
_WORDS = """
the of and to in is that for it as was with be by on not he his but at are this have from or had an they which
one you were all her she there would their we him been has when who will no more if out so up said what its
about than into them can only other time new some could these two may first then do any like my now over such
our man me even most made after also well many must through back years where much your way down should because
long each just state those people how too little good world day same
""".split()  # noqa: SIM905


def requests(
    path: str, chat: OpenAiChatSettings, size: int, rng: np.random.Generator
) -> tuple[Prepared, ...]:
    """`size` prompts of random words: alike prompts would be answered by a prefix cache, not by the model."""
    made = []
    of_a_text = path.endswith("/completions") and not path.endswith("/chat/completions")
    prompt_words, max_tokens = Sizes(chat.prompt_words), Sizes(chat.max_tokens)
    for _ in range(size):
        words = " ".join(_WORDS[i] for i in rng.integers(len(_WORDS), size=prompt_words.draw(rng, 1)))
        asked = {"prompt": words} if of_a_text else {"messages": [{"role": "user", "content": words}]}
        body = {
            "model": chat.model,
            **asked,
            "max_tokens": max_tokens.draw(rng, 1),
            "stream": chat.stream,
        }
        if chat.stream:
            body["stream_options"] = {"include_usage": True}  # so that the server counts the tokens
        made.append(Prepared(path, json.dumps(body).encode(), JSON_HEADERS))
    return tuple(made)
