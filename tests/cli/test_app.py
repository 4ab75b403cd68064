"""Commands as typed, without a process of their own: mistakes, help, and faults of ours."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest

from advisor.cli import app, main
from advisor.cli.run import Scenario
from advisor.domain import Demand, Limit, Recommendation
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from advisor.service.whatif import Question
from tests.scaling.advice import NOW, SLO, capacity

HERE = ["--url", "http://127.0.0.1:9/", "--slo", "p95=1s"]


@pytest.fixture
def type_in(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("ADVISOR_VIEWER_TOKEN", "ADVISOR_OPERATOR_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["capacity-advisor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        code = ended.value.code
        return (0 if code is None else code), shown.out, " ".join(shown.err.replace("│", " ").split())

    return run


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run"], "what to load is not said"),
        (["run", *HERE[:2]], "a capacity run needs a latency objective"),
        (["run", *HERE[:2], "--slo", "p95"], "--slo: 'p95' is not an objective"),
        (["run", *HERE[:2], "--slo", "p95=100"], "--slo: '100' has no unit: write 100ms or 100s"),
        (["run", "--url", "http://192.0.2.1/", "--slo", "p95=1s"], "add --allow-host 192.0.2.1"),
        (["run", *HERE, "--payload", "none.json"], "cannot read --payload none.json: No such file"),
        (["run", *HERE, "--payload", "."], "cannot read --payload .: Is a directory"),
        (["run", *HERE, "--payload-kind", "jsonl"], "--payload, which is missing"),
        (["run", *HERE, "--rate", "-1"], "--rate must be a number above zero"),
        (["run", *HERE, "--rate", "nan"], "--rate must be a number above zero"),
        (["run", *HERE, "--budget", "soon"], "--budget: 'soon' is not a duration"),
        (["run", *HERE, "--scenario", "load"], "a load run needs a rate"),
        (["run", *HERE, "--store", "mysql://x"], "'mysql://x' is not a store"),
        (["run", *HERE, "--store", "sqlite:////no/such/folder/x.db"], "/no/such/folder"),
        (["run", "t", *HERE], "--url takes the place of TARGET and --config"),
        (["run", "t"], "give TARGET with --config FILE"),
        (["run", "t", "--config", "none.yaml"], "cannot read none.yaml: No such file"),
        (["run", "t", "--config", "."], "cannot read .: Is a directory"),
        (["run", "t", "--config", "x.yaml", "--payload", "b.json"], "--payload only goes with --url"),
        (["run", "--scenario", "party"], "'--scenario': 'party' is not one of"),
        (
            ["run", "--url", "http://127.0.0.1:99999/", "--slo", "p95=1s"],
            "hint: write http://host:port/path, with a port from 1",
        ),
        (["run", "--colour", "red"], "No such option"),
        (["recommend", "t"], "Missing option"),
        (["recommend", "t", "--config", "none.yaml"], "cannot read none.yaml"),
        (["recommend", "t", "--config", "x", "--demand", "0"], "--demand must be a number above zero"),
        (["recommend", "t", "--config", "x", "--startup", "soon"], "cannot read x"),
        (["recommend", "t", "--config", "x", "--replicas", "0"], "Invalid value for '--replicas'"),
        (["recommend", "t", "--config", "x", "--failure-tolerance", "-1"], "'--failure-tolerance'"),
        (["recommend", "t", "--config", "x", "--cost", "-1"], "Invalid value for '--cost'"),
        (
            ["recommend", "t", "--config", "x", "--json", "--format", "hpa"],
            "--json and --format hpa ask for two",
        ),
        (
            ["recommend", "t", "--config", "x", "--json", "--format", "table"],
            "--format table ask for two forms",
        ),
        (["recommend", "t", "--config", "x", "--json", "--format", "json"], "cannot read x"),
        (["serve", "--config", "none.yaml"], "cannot read none.yaml"),
        (["dance"], "No such command"),
    ],
)
def test_a_mistake_ends_with_2_and_a_sentence(type_in, arguments, sentence):
    code, out, err = type_in(*arguments)
    assert code == 2, err
    assert out == ""
    assert sentence in err


CONFIG = """
store: sqlite:///advisor.db
targets:
  - {name: a, url: "http://127.0.0.1:9", requests: [{}], slo: {latency: {p95: 1s}}}
"""


@pytest.mark.parametrize(
    ("listen", "sentence"),
    [
        ("0.0.0.0:0", "set ADVISOR_OPERATOR_TOKEN (may start runs) and ADVISOR_VIEWER_TOKEN (may read)"),
        ("nonsense", "--listen: 'nonsense' is not an address"),
        ("192.0.2.1:80", "open to other machines"),
        ("127.0.0.1:99999", "write 127.0.0.1:8000, with a port up to 65535"),
    ],
)
def test_the_service_does_not_start_where_it_should_not(type_in, tmp_path, listen, sentence):
    (tmp_path / "advisor.yaml").write_text(CONFIG)
    code, _, err = type_in("serve", "--config", "advisor.yaml", "--listen", listen)
    assert code == 2
    assert sentence in err


def test_mistakes_of_the_configuration(type_in, tmp_path):
    (tmp_path / "advisor.yaml").write_text(CONFIG)
    code, _, err = type_in("run", "nobody", "--config", "advisor.yaml")
    assert (code, err) == (2, "error: no target 'nobody' in the configuration hint: it has: a")
    (tmp_path / "advisor.yaml").write_text(CONFIG + "colour: red\n")
    code, _, err = type_in("run", "a", "--config", "advisor.yaml")
    assert code == 2
    assert "advisor.yaml:5: unknown key 'colour'" in err


def test_advice_without_a_measurement_is_refused_with_3(type_in, tmp_path):
    (tmp_path / "advisor.yaml").write_text(CONFIG)
    code, out, err = type_in("recommend", "a", "--config", "advisor.yaml", "--demand", "10", "--json")
    assert code == 3, err
    assert '"status": "refused"' in out
    code, out, err = type_in("recommend", "a", "--config", "advisor.yaml", "--format", "hpa")
    assert (code, out) == (3, "")
    assert "no HPA for 'a'" in err
    code, out, err = type_in("recommend", "a", "--config", "advisor.yaml", "--startup", "soon")
    assert (code, out) == (2, "")
    assert "--startup: 'soon' is not a duration" in err


def test_a_manifest_that_cannot_be_is_no_success(type_in, tmp_path, monkeypatch):
    (tmp_path / "advisor.yaml").write_text(CONFIG)
    sleeping = capacity(cpu_cores=0.03, cpu_idle_cores=0.01, limited_by=Limit.WORKERS)

    async def advice(*_: object) -> Recommendation:
        return recommend("a", SLO, ScalingPolicy(metrics_adapter=False), sleeping, now=NOW)

    monkeypatch.setattr("advisor.cli.recommend._ask", advice)
    code, out, err = type_in("recommend", "a", "--config", "advisor.yaml", "--format", "hpa")
    assert (code, out) == (3, "")
    assert "no HPA for 'a': no signal can be scaled on" in err
    assert type_in("recommend", "a", "--config", "advisor.yaml")[0] == 0


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("table", "minReplicas 2: one that serves and 1 that may fail"),
        ("json", '"explained"'),
        ("markdown", "| minReplicas | 2 | one that serves and 1 that may fail |"),
        ("hpa", "kind: HorizontalPodAutoscaler"),
        ("keda", "kind: ScaledObject"),
        ("helm-values", "replicaCount: 9"),
        ("patch", "kubectl patch hpa a --patch-file FILE"),
    ],
)
def test_the_advice_in_every_form(type_in, tmp_path, monkeypatch, form, words):
    asked = []

    async def advice(settings, target, question):
        asked.append(question)
        policy = ScalingPolicy(failure_tolerance=1)
        return recommend("a", SLO, policy, capacity(), now=NOW, demand=Demand(500, "asked"))

    (tmp_path / "advisor.yaml").write_text(CONFIG)
    monkeypatch.setattr("advisor.cli.recommend._ask", advice)
    code, out, err = type_in(
        "recommend", "a", "--config", "advisor.yaml", "--format", form, "--replicas", "3", "--startup", "2m",
        "--failure-tolerance", "1", "--cost", "0.5", "--demand", "500", "--slo", "p99=2s",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert words in out
    (question,) = asked
    assert question.slo.latency[-1].seconds == 2.0
    assert replace(question, slo=None) == Question(500.0, None, 3, 120.0, 0.5, 1)


def test_version_and_help(type_in):
    assert type_in("--version")[1].startswith("capacity-advisor ")
    for command in ("run", "serve", "recommend", "demo"):
        code, out, _ = type_in(command, "--help")
        assert code == 0
        assert "Examples" in out
        assert f"capacity-advisor {command}" in out


def test_where_only_the_sidecar_is_installed_that_is_said(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "advisor.cli.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'capacity-advisor[advisor]'" in capsys.readouterr().err


def test_a_fault_of_ours_is_one_line_with_the_traceback_in_a_file(type_in, monkeypatch, tmp_path):
    def broken(*arguments, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("advisor.cli.target.parse_slo", broken)
    code, out, err = type_in("run", *HERE)
    assert (code, out) == (3, "")
    assert "this should not happen: ZeroDivisionError: division by zero" in err
    assert "Traceback" not in err
    (log,) = (tmp_path / "state" / "capacity-advisor").glob("crash-*.log")
    assert "ZeroDivisionError" in log.read_text()


def test_debug_shows_the_traceback(type_in, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["capacity-advisor", "--debug", "run"])
    with pytest.raises(app.AdvisorError):
        main()


def test_every_scenario_of_the_option_is_known_to_the_service():
    from advisor.service.options import SCENARIOS

    assert {scenario.value for scenario in Scenario} <= set(SCENARIOS)


def test_ctrl_c_during_the_imports_is_no_traceback(type_in, monkeypatch):
    class Interrupted:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "advisor.cli.app":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "advisor.cli.app")
    monkeypatch.setattr(sys, "meta_path", [Interrupted, *sys.meta_path])
    assert type_in("run") == (130, "", "")
