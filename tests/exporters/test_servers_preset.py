"""A person's own mapping file: what it may say, and what a mistake in it is answered with."""

from __future__ import annotations

import pytest

from exporters import names
from exporters.samples import Sample
from exporters.servers import mapping
from exporters.servers.exposition import parse
from exporters.servers.preset import load, presets

GOOD = """
model = ["svc"]
[[metric]]
to = "inference_queue_depth"
from = ["backlog"]
[[metric]]
to = "inference_request_duration_seconds"
from = ["took_ms"]
unit = "ms"
labels = { outcome = "{code}" }
translate = "http"
except = { path = "/health.*" }
"""


def write(tmp_path, text):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    return file


def test_a_mapping_of_ones_own(tmp_path):
    preset = load(write(tmp_path, GOOD))
    page = (
        'backlog{svc="a"} 3\nbacklog{svc="b"} 4\n'
        'took_ms_count{svc="a",code="500",path="/x"} 2\ntook_ms_sum{svc="a",code="500",path="/x"} 90\n'
        'took_ms_count{svc="a",code="200",path="/healthz"} 99\n'
        'took_ms_sum{svc="a",code="200",path="/healthz"} 1\n'
    )
    samples, origins = mapping.apply(preset, parse(page, preset.wanted), str)
    assert samples[:2] == [
        Sample(names.QUEUE_DEPTH, ("a",), 3),
        Sample(names.QUEUE_DEPTH, ("b",), 4),
    ]
    (failed,) = samples[2:]
    assert (failed.labels, failed.counts, failed.total) == (("a", "server_error"), (2,), pytest.approx(0.09))
    assert {origin.text for origin in origins} == {"backlog", "took_ms (mean only)"}


def rule(body):
    return f"[[metric]]\n{body}\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("to = ", "is not TOML"),
        ("titel = 'x'", "unknown key 'titel'; known are .*title"),
        ("title = 'x'", r"at least one \[\[metric\]\]"),
        (rule("to = 'inference_latency'\nfrom = ['a']"), "`to` must be one of .*inference_queue_depth"),
        (rule("to = 'inference_queue_depth'"), "write `from`"),
        (rule("to = 'inference_queue_depth'\nfrom = ['a']\ncount = ['b']"), "not both"),
        (rule("to = 'inference_queue_depth'\ncount = ['b']"), "inference_queue_depth is a gauge"),
        (rule("to = 'inference_queue_depth'\nfrom = [1]"), "`from` must be a list of names"),
        (
            rule("to = 'inference_queue_depth'\nfrom = 'a'\nunit = 'minutes'"),
            "unit 'minutes' is not one of s, ms",
        ),
        (rule("to = 'inference_queue_depth'\nfrom = 'a'\ncombine = 'avg'"), "combine must be sum or max"),
        (
            rule("to = 'inference_queue_depth'\nfrom = 'a'\nlabels = {kind = 'x'}"),
            r"needs labels \[\], given: kind",
        ),
        (rule("to = 'inference_queue_depth'\nfrom = 'a'\nwhere = {p = '('}"), "wrong regular expression"),
        (rule("to = 'inference_queue_depth'\nfrom = 'a'\nwhere = 'p'"), "`where` must be a table"),
        (
            rule("to = 'inference_request_duration_seconds'\nfrom = 'a'"),
            r"needs labels \['outcome'\], given: none",
        ),
        (
            rule("to = 'inference_request_duration_seconds'\nfrom = 'a'\nlabels = {outcome = 'bad'}"),
            "outcome 'bad' is not one of ok, client_error",
        ),
        (
            rule("to = 'inference_request_duration_seconds'\nfrom = 'a'\nlabels = {outcome = '{code}'}"),
            "needs `translate`",
        ),
        (
            rule(
                "to = 'inference_request_duration_seconds'\nfrom = 'a'\n"
                "labels = {outcome = '{code}'}\ntranslate = {ok = 'ok'}"
            ),
            r"`translate` needs \"\*\"",
        ),
        (
            rule(
                "to = 'inference_request_duration_seconds'\nfrom = 'a'\n"
                "labels = {outcome = '{code}'}\ntranslate = {'*' = 'meh'}"
            ),
            "outcome 'meh'",
        ),
    ],
)
def test_a_mistake_names_the_file_and_the_key(tmp_path, text, says):
    with pytest.raises(ValueError, match=says) as caught:
        load(write(tmp_path, text))
    assert "mine.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"cannot read the mapping .*none\.toml: No such file"):
        load(tmp_path / "none.toml")


def test_shipped_presets_say_where_they_are_documented():
    for preset in presets().values():
        assert preset.title
        assert preset.address is not None
        assert preset.detect


def test_presets_travel_with_the_wheel():
    """A folder that is no package would be left out of it: its `__file__` is None."""
    import exporters.servers.presets as package

    assert package.__file__ is not None
