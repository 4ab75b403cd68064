"""`run --url` and its options as settings of a target."""

from __future__ import annotations

import re

import pytest

from advisor.cli.target import (
    Transport,
    UrlOptions,
    amended,
    parse_headers,
    parse_objective,
    require_bound,
    slo_settings,
    target_from_url,
    target_name,
)
from advisor.errors import ConfigurationError
from advisor.settings import AdvisorSettings, LimitSettings, parse

SLO = parse_objective(["p95=150ms"])


def target(url="http://127.0.0.1:8080/predict?v=1", **options):
    return target_from_url(UrlOptions(url, **options), SLO, LimitSettings())


def test_a_url_is_a_base_and_a_path():
    made = target()
    assert made.url == "http://127.0.0.1:8080"
    assert made.requests[0].path == "/predict?v=1"
    assert made.requests[0].method == "GET"


def test_a_smoke_test_needs_no_latency_bound():
    made = target_from_url(UrlOptions("http://127.0.0.1:1/"), parse_objective([]), LimitSettings())
    assert made.slo.slo().latency == ()
    settings = AdvisorSettings(store="sqlite:///x", targets=[made])
    assert settings.target(made.name).slo.slo().error_ratio == 0.001


def test_a_payload_makes_it_a_post_with_a_content_type(tmp_path):
    body = tmp_path / "body.json"
    body.write_text("{}")
    request = target(payload=str(body)).requests[0]
    assert request.method == "POST"
    assert request.payload.file == body
    assert request.headers == {"Content-Type": "application/json"}


def test_a_told_content_type_wins(tmp_path):
    body = tmp_path / "body.json"
    body.write_text("{}")
    request = target(payload=str(body), headers=["content-type: application/x-model"]).requests[0]
    assert request.headers == {"content-type": "application/x-model"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "127.0.0.1:8080"}, "--url '127.0.0.1:8080' is not a URL"),
        ({"url": "ftp://host/x"}, "--url 'ftp://host/x' is not a URL"),
        ({"url": "http://h:99999/"}, "is not a URL: Port out of range"),
        ({"url": "http://h o/"}, "--url: 'http://h o' is not a URL"),
        ({"method": "FETCH"}, "--method: Input should be 'GET'"),
        ({"exporters": ["nowhere"]}, "--exporter: 'nowhere' is not a URL"),
        ({"headers": ["X"]}, "--header 'X' is not a header"),
    ],
)
def test_a_wrong_option_names_itself(options, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        target(**options)


def test_a_payload_needs_a_method_that_sends_it(tmp_path):
    body = tmp_path / "body.json"
    body.write_text("{}")
    with pytest.raises(ConfigurationError, match="--method GET sends no body"):
        target(payload=str(body), method="get")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://127.0.0.1:8080/predict", "127.0.0.1-8080-predict"),
        ("https://Models.Example/v1/chat completions/", "models.example-v1-chat-completions"),
        ("http://[::1]:80/", "1-80"),
        ("http://h/" + "x" * 100, "h-" + "x" * 61),
    ],
)
def test_a_name_that_the_settings_accept(url, name):
    assert target_name(url) == name


def test_headers():
    assert parse_headers(["Authorization: Bearer a:b", "X-Empty:"]) == {
        "Authorization": "Bearer a:b",
        "X-Empty": "",
    }


@pytest.mark.parametrize("term", ["no colon", ": value", "Bad Name: x", "X: a\r\nY: b"])
def test_wrong_headers(term):
    with pytest.raises(ConfigurationError, match="--header"):
        parse_headers([term])


def test_an_objective_survives_the_settings():
    slo = parse_objective(["p99.9=1us", "p95=150ms", "ttft_p50=20ms", "error_ratio=1%"])
    assert slo_settings(slo).slo() == slo


def test_a_wrong_objective_names_the_option():
    with pytest.raises(ConfigurationError, match="--slo: 'fast' is not an objective"):
        parse_objective(["fast"])


def test_capacity_without_a_latency_bound_is_a_usage_error():
    with pytest.raises(ConfigurationError, match="a capacity run needs a latency objective") as caught:
        require_bound(parse_objective(["error_ratio=1%"]), "capacity")
    assert "--slo p95=150ms" in caught.value.hint
    require_bound(parse_objective([]), "smoke")


def test_options_amend_one_target_of_a_configuration():
    settings = parse(
        """
targets:
  - {name: a, url: "http://127.0.0.1:1", requests: [{}], slo: {latency: {p95: 1s}}}
  - {name: b, url: "http://127.0.0.1:2", requests: [{}], slo: {latency: {p95: 1s}}}
"""
    )
    changed = amended(settings, "b", slo=SLO)
    assert changed.target("b").slo.slo() == SLO
    assert changed.target("a") == settings.target("a")
    assert amended(settings, "a", slo=None) is settings
    assert [t.version for t in amended(settings, "a", version="v2").targets] == ["v2", None]


def test_how_requests_travel(tmp_path):
    made = target(transport=Transport(new_connections=True, insecure=True, timeout=2.5))
    assert (made.connections, made.tls.verify, made.limits.timeout) == ("new", False, 2.5)
    plain = target(transport=Transport(ca=tmp_path / "ca.pem"))
    assert (plain.connections, plain.tls.verify, plain.tls.ca) == ("reuse", True, tmp_path / "ca.pem")
    assert plain.limits.timeout == LimitSettings().timeout


def test_a_locustfile_stands_in_place_of_requests(tmp_path):
    file = tmp_path / "users.py"
    with pytest.raises(ConfigurationError, match=r"--locustfile .*users\.py: no such file"):
        target(locustfile=file)
    file.write_text("")
    assert target(locustfile=file).locustfile == file
    with pytest.raises(ConfigurationError, match="--method, --new-connections: the users of a locustfile"):
        target(locustfile=file, method="POST", transport=Transport(new_connections=True))
