"""`capacity-advisor dashboards` as typed, against a server that speaks Grafana's documented API."""

import pytest
from typer.testing import CliRunner

from advisor.cli.app import app
from advisor.errors import ConfigurationError, GrafanaFailed
from tests.outputs.grafana_server import TOKEN, fake_grafana


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setenv("GRAFANA_TOKEN", TOKEN)
    with fake_grafana() as server:
        yield server


def run(*args):
    return CliRunner().invoke(app, ["dashboards", *map(str, args)])


def test_push_then_check(fake):
    where = ("--url", fake.url, "--prometheus", "http://prometheus:9090")
    before = run("check", *where)
    assert before.exit_code == 1
    assert "missing  dashboard    Capacity overview" in before.stdout
    pushed = run("push", *where)
    assert pushed.exit_code == 0, pushed.output
    assert "created  dashboard    Capacity overview" in pushed.stdout
    after = run("check", *where)
    assert after.exit_code == 0
    assert {line.split()[0] for line in after.stdout.splitlines()} == {"same"}


def test_the_configuration_says_where(fake, tmp_path, monkeypatch):
    config = tmp_path / "advisor.yaml"
    config.write_text(
        f"store: sqlite:///{tmp_path}/a.db\n"
        f"grafana: {{url: {fake.url}, token_env: OTHER}}\n"
        "prometheus: {url: http://prometheus:9090}\n"
        "targets: [{name: m, url: http://127.0.0.1:1, requests: [{path: /}], slo: {latency: {p95: 1s}}}]\n"
    )
    with_none = run("push", "--config", config)
    assert isinstance(with_none.exception, ConfigurationError)
    assert "OTHER" in with_none.exception.message
    monkeypatch.setenv("OTHER", TOKEN)
    assert run("push", "--config", config).exit_code == 0
    assert [source["url"] for source in fake.sources.values()] == ["http://prometheus:9090"]


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        ((), ConfigurationError, "where is Grafana?"),
        (("--url", "grafana:3000"), ConfigurationError, "is not a URL"),
        (("--url", "http://127.0.0.1:9"), GrafanaFailed, "cannot be reached"),
    ],
)
def test_mistakes_are_told_without_a_traceback(fake, args, kind, words):
    failed = run("push", *args)
    assert isinstance(failed.exception, kind)
    assert words in failed.exception.message
    assert failed.exception.hint


def test_export_into_a_file_is_a_mistake(tmp_path):
    (tmp_path / "file").write_text("")
    failed = run("export", tmp_path / "file" / "below")
    assert isinstance(failed.exception, ConfigurationError)
    good = run("export", tmp_path / "new")
    assert good.exit_code == 0
    assert (tmp_path / "new" / "overview.json").exists()
