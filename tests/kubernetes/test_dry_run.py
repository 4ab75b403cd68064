"""`recommend --format hpa --dry-run` as typed: does the API server take the advised autoscaler?"""

from __future__ import annotations

import sys

import pytest

from advisor.cli import main
from advisor.scaling.policy import ScalingPolicy
from advisor.scaling.recommend import recommend
from tests.scaling.advice import NOW, SLO, capacity
from tests.servers.kubernetes import ApiServer, api_server

CONFIG = """\
targets:
  - name: heart-disease
    url: http://127.0.0.1:1
    requests: [{path: /}]
    slo: {latency: {p95: 150ms}}
    scaling: {reference: {name: heart-disease}}
"""


@pytest.fixture
def type_in(monkeypatch, capsys, tmp_path):
    async def advice(*_):
        return recommend("heart-disease", SLO, ScalingPolicy(), capacity(), now=NOW)

    monkeypatch.setattr("advisor.cli.recommend._ask", advice)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "advisor.yaml").write_text(CONFIG)

    def run(*more: str) -> tuple[int, str, str]:
        arguments = [
            "recommend",
            "heart-disease",
            "--config",
            str(tmp_path / "advisor.yaml"),
            "--dry-run",
            *more,
        ]
        monkeypatch.setattr(sys, "argv", ["capacity-advisor", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, " ".join(shown.err.split())

    return run


def test_the_cluster_is_asked_for_the_manifest_that_is_printed(type_in, monkeypatch, tmp_path):
    state = ApiServer()
    with api_server(tmp_path, state) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        code, out, err = type_in("--format", "hpa")
    assert (code, err) == (0, "the cluster takes this HPA; nothing was changed")
    assert "kind: HorizontalPodAutoscaler" in out
    _, _, query, body = state.patches[0]
    assert query["dryRun"] == ["All"]
    assert body["spec"]["scaleTargetRef"]["name"] == "heart-disease"


def test_a_refusal_is_told_and_ends_with_2(type_in, monkeypatch, tmp_path):
    state = ApiServer()
    state.forbidden.add(("patch", "horizontalpodautoscalers"))
    with api_server(tmp_path, state) as kubeconfig:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        code, _, err = type_in("--format", "hpa")
    assert code == 2
    assert (
        "the dry run of the HPA did not pass: the API server says: horizontalpodautoscalers is forbidden"
        in err
    )


def test_it_is_the_hpa_that_is_asked_for(type_in):
    code, out, err = type_in()
    assert (code, out) == (2, "")
    assert "add --format hpa" in err
