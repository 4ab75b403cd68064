"""Keys of a request: what fits together, and what a mistake says."""

from __future__ import annotations

import pytest

from advisor.errors import ConfigurationError
from advisor.settings import RequestSettings, load, parse

FILE = """
targets:
  - name: t
    url: http://127.0.0.1:9
    requests:
      - {request}
    slo: {{latency: {{p95: 100ms}}}}
"""
INVALID = "{path: /p, payload: {schema: s.json, invalid: true}, "


def request(text: str) -> RequestSettings:
    return parse(FILE.format(request=text)).targets[0].requests[0]


def test_what_answers_must_be() -> None:
    asked = request("{path: /p, accuracy: {compare: tolerance, pointer: /y/0, relative: 0.01, share: 99%}}")
    assert (asked.accuracy.pointer, asked.accuracy.relative, asked.accuracy.share) == ("/y/0", 0.01, 0.99)
    assert request("{path: /p, accuracy: {}}").accuracy.compare == "exact"
    assert request(INVALID + "within: 40ms}").within == 0.04
    assert request("{path: /p, expect: 404, within: 1s}").within == 1.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{path: /p, within: 40ms}", "'within' is of requests that should be refused"),
        (INVALID + "within: 40}", "'40' has no unit: write 40ms or 40s"),
        (INVALID + "accuracy: {}}", "'accuracy' compares whole answers"),
        ("{path: /p, payload: {openai_chat: {model: m}}, accuracy: {}}", "not refusals, streams"),
        ("{path: /p, accuracy: {compare: tolerance}}", "'tolerance' needs 'absolute' or 'relative'"),
        ("{path: /p, accuracy: {absolute: 1}}", "nothing else has them"),
        ("{path: /p, accuracy: {pointer: y}}", "'y' is not a JSON pointer: write /predictions"),
        ("{path: /p, accuracy: {compare: alike}}", "Input should be 'exact', 'tolerance' or 'label'"),
        ("{path: /p, payload: {image: {width: {fixed: 1, uniform: [1, 2]}}}}", "a size is exactly one of"),
        ("{path: /p, payload: {image: {width: [9, 2]}}}", "[9, 2] is not a range"),
    ],
)
def test_a_mistake_names_its_line(text, words) -> None:
    with pytest.raises(ConfigurationError) as caught:
        request(text)
    assert words in caught.value.message
    assert caught.value.message.startswith("advisor.yaml:6: targets.0.requests.0")


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({"path": "/"}, "GET"),
        ({"path": "/", "payload": {"file": "body.json"}}, "POST"),
        ({"path": "/", "method": "post"}, "POST"),
        ({"path": "/", "method": "PUT", "payload": {"file": "body.json"}}, "PUT"),
    ],
)
def test_without_a_body_nothing_is_posted(given, method) -> None:
    assert RequestSettings.model_validate(given).method == method


def test_files_of_sizes_are_looked_for_beside_the_configuration(tmp_path) -> None:
    text = "{path: /p, payload: {schema: s.json, sizes: {/rows: {jsonl: seen.jsonl}}}}"
    (tmp_path / "a.yaml").write_text(FILE.format(request=text))
    (tmp_path / "s.json").write_text("{}")
    with pytest.raises(
        ConfigurationError, match=r"a\.yaml:6: .*sizes\./rows\.jsonl: .*seen\.jsonl does not exist"
    ):
        load(tmp_path / "a.yaml")
    (tmp_path / "seen.jsonl").write_text("3\n")
    [found] = load(tmp_path / "a.yaml").targets[0].requests
    assert found.payload.sizes["/rows"].jsonl == tmp_path / "seen.jsonl"
