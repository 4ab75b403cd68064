"""Options, environment, and every mistake in one sentence."""

from __future__ import annotations

import socket

import pytest

from exporters.cli import main, read_settings
from exporters.settings import (
    UsageError,
    parse_address,
    parse_delay,
    parse_duration,
    parse_objectives,
    parse_upstream,
)

UPSTREAM = ["--upstream", "http://127.0.0.1:8080"]


def test_defaults() -> None:
    settings, level = read_settings(UPSTREAM, {})
    assert settings.upstream == ("127.0.0.1", 8080)
    assert settings.listen == ("0.0.0.0", 8081)
    assert settings.metrics == ("0.0.0.0", 9109)
    assert settings.models == ("default",)
    assert settings.max_in_flight is None
    assert settings.objectives.latency == ()
    assert settings.exemplars is False
    assert level == "INFO"


def test_every_option() -> None:
    settings, level = read_settings(
        [
            *UPSTREAM,
            *("--listen", ":9000", "--metrics", "[::1]:9001", "--slo", "p95=150ms", "--slo", "ttft_p95=0.3s"),
            *("--slo", "error_ratio=0.1%", "--models", "iris", "--models", "wine", "--max-in-flight", "8"),
            *(
                "--max-queue",
                "64",
                "--timeout",
                "2m",
                "--connect-timeout",
                "500ms",
                "--client-timeout",
                "30s",
            ),
            *("--header-timeout", "5s", "--keep-alive", "10s", "--upstream-idle", "1s"),
            *("--max-connections", "100", "--max-header-bytes", "8192", "--drain-delay", "0"),
            *("--drain-timeout", "3s", "--scrape", "auto", "--process", "port=8080", "--gpu", "auto"),
            *("--log-level", "warning", "--exemplars", "--slo", "itl_p99.9=40ms"),
        ],
        {},
    )
    assert settings.listen == ("0.0.0.0", 9000)
    assert settings.metrics == ("::1", 9001)
    assert settings.objectives.latency == (0.15,)
    assert settings.objectives.first_token == (0.3,)
    assert settings.objectives.inter_token == (0.04,)
    assert settings.models == ("iris", "wine")
    assert (settings.max_in_flight, settings.max_queue) == (8, 64)
    limits = settings.limits
    assert (limits.answer_seconds, limits.connect_seconds, limits.client_seconds) == (120.0, 0.5, 30.0)
    assert (limits.head_seconds, limits.keep_alive_seconds, limits.upstream_idle_seconds) == (5.0, 10.0, 1.0)
    assert (limits.connections, limits.head_bytes) == (100, 8192)
    assert (settings.drain_delay, settings.drain_seconds) == (0.0, 3.0)
    assert (settings.scrapes, settings.processes, settings.gpu) == (("auto",), ("port=8080",), "auto")
    assert settings.exemplars is True
    assert level == "WARNING"


def test_the_environment_gives_what_options_do_not() -> None:
    environment = {
        "EXPORTER_UPSTREAM": "http://model:8080",
        "EXPORTER_MAX_IN_FLIGHT": "4",
        "EXPORTER_SLO": "p95=150ms, p99=300ms",
        "EXPORTER_LISTEN": "",
        "PATH": "/bin",
    }
    settings, _ = read_settings(["--max-in-flight", "2"], environment)
    assert settings.upstream == ("model", 8080)
    assert settings.max_in_flight == 2
    assert settings.max_queue == 20
    assert settings.objectives.latency == (0.15, 0.3)


@pytest.mark.parametrize(("text", "on"), [("true", True), ("True", True), ("false", False), ("", False)])
def test_a_switch_in_the_environment(text: str, on: bool) -> None:
    assert read_settings(UPSTREAM, {"EXPORTER_EXEMPLARS": text})[0].exemplars is on


def test_links_to_a_kubernetes_service_called_exporter_are_not_settings() -> None:
    environment = {
        "EXPORTER_SERVICE_HOST": "10.0.0.1",
        "EXPORTER_SERVICE_PORT": "8081",
        "EXPORTER_SERVICE_PORT_HTTP": "8081",
        "EXPORTER_PORT": "tcp://10.0.0.1:8081",
        "EXPORTER_PORT_8081_TCP": "tcp://10.0.0.1:8081",
        "EXPORTER_PORT_8081_TCP_PROTO": "tcp",
        "EXPORTER_IRIS_SERVICE_HOST": "10.0.0.2",
        "EXPORTER_IRIS_PORT_80_TCP_ADDR": "10.0.0.2",
    }
    assert read_settings(UPSTREAM, environment) == read_settings(UPSTREAM, {})


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        ([], {}, "nothing to observe: give --upstream http://127.0.0.1:8080"),
        (["--upstream", "127.0.0.1:8080"], {}, "--upstream: '127.0.0.1:8080' is not"),
        (["--upstream", "https://model"], {}, "without TLS"),
        (["--upstream", "http://model/path"], {}, "host and port only"),
        (["--upstream", "http://model:99999"], {}, "--upstream: 'http://model:99999' is not a URL"),
        (["--upstream", "ftp://model"], {}, "is not the URL of a server"),
        ([*UPSTREAM, "--listen", "here"], {}, "--listen: 'here' is not an address: write 0.0.0.0:8081"),
        ([*UPSTREAM, "--listen", ":70000"], {}, "is not an address"),
        ([*UPSTREAM, "--slo", "p95"], {}, "--slo: 'p95' is not an objective: write p95=150ms"),
        ([*UPSTREAM, "--slo", "p95=fast"], {}, "--slo: 'fast' is not a duration: write 150ms"),
        ([*UPSTREAM, "--slo", "mean=1s"], {}, "'mean' is not a latency percentile"),
        ([*UPSTREAM, "--slo", "p95=100"], {}, "--slo: 'p95=100' has no unit: write p95=100ms or p95=100s"),
        (UPSTREAM, {"EXPORTER_SLO": "ttft_p95=0.3"}, "write ttft_p95=0.3ms or ttft_p95=0.3s"),
        ([*UPSTREAM, "--max-in-flight", "0"], {}, "--max-in-flight: '0' is not a whole number above zero"),
        ([*UPSTREAM, "--max-queue", "5"], {}, "--max-queue needs --max-in-flight"),
        ([*UPSTREAM, "--timeout", "soon"], {}, "--timeout: 'soon' is not a duration"),
        ([*UPSTREAM, "--log-level", "loud"], {}, "--log-level: 'loud' is none of debug"),
        ([*UPSTREAM, "--nonsense"], {}, "unrecognized arguments: --nonsense"),
        ([*UPSTREAM, "--process", "sshd"], {}, "--process: 'sshd'"),
        ([*UPSTREAM, "--scrape", "nosuch=http://x/metrics"], {}, "--scrape: 'nosuch' is not a known server"),
        (["--gpu", "auto", "--exemplars"], {}, "--exemplars needs --upstream"),
        (UPSTREAM, {"EXPORTER_EXEMPLARS": "maybe"}, "EXPORTER_EXEMPLARS: 'maybe' is neither true nor false"),
        ([], {"EXPORTER_UPSTREAM": "nope"}, "EXPORTER_UPSTREAM: 'nope' is not"),
        (UPSTREAM, {"EXPORTER_MAX_INFLIGHT": "4"}, "EXPORTER_MAX_INFLIGHT is not a setting; there are"),
    ],
)
def test_a_mistake_is_a_sentence_and_exit_code_2(
    arguments: list[str],
    environment: dict[str, str],
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main([*arguments, "--metrics", "127.0.0.1:0"]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert "Traceback" not in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("option", ["--listen", "--metrics"])
def test_a_port_in_use_is_named(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        other = "--metrics" if option == "--listen" else "--listen"
        assert main([*UPSTREAM, option, f"127.0.0.1:{port}", other, "127.0.0.1:0"]) == 2
    assert f"{option}: cannot listen on 127.0.0.1:{port}: the port is in use; choose another" in (
        capsys.readouterr().err
    )


def test_an_address_that_is_not_ours(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*UPSTREAM, "--listen", "192.0.2.1:0", "--metrics", "127.0.0.1:0"]) == 2
    assert "--listen: cannot listen on 192.0.2.1:0" in capsys.readouterr().err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "model-exporter --upstream http://127.0.0.1:8080 --slo p95=150ms" in shown
    assert "EXPORTER_UPSTREAM" in shown


@pytest.mark.parametrize(
    ("text", "seconds"), [("150ms", 0.15), ("45s", 45), ("2m", 120), ("1h", 3600), ("3", 3)]
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_other_forms() -> None:
    assert parse_delay("0") == 0.0
    assert parse_delay("2s") == 2.0
    assert parse_address("8081") == ("0.0.0.0", 8081)
    assert parse_address("localhost:1") == ("localhost", 1)
    assert parse_upstream("http://model/") == ("model", 80)
    assert parse_upstream("http://[::1]:5000") == ("::1", 5000)
    assert parse_objectives(["p99.9=1s", "p999=2s", "p50=10ms"]).latency == (0.01, 1.0, 2.0)
    with pytest.raises(ValueError, match="above zero"):
        parse_duration("0s")
    with pytest.raises(UsageError):
        read_settings(["--upstream", "x"], {})
