"""Dashboards and annotations against a server that speaks the documented API (see grafana_server.py)."""

import pytest

from advisor.domain import Refusal, Run, RunStatus, Verdict, VerdictStatus
from advisor.errors import GrafanaFailed
from advisor.outputs.grafana import Boards, Grafana, State, annotation_of, check, client, push
from advisor.outputs.grafana.annotations import mark
from advisor.outputs.grafana.boards import SOURCE, export, shipped
from tests.outputs.grafana_server import TOKEN, fake_grafana
from tests.scaling.advice import NOW, SLO, capacity

WANTED = Boards(prometheus="http://prometheus:9090/")


@pytest.fixture
def fake():
    with fake_grafana() as server:
        yield server


@pytest.fixture
def grafana(fake):
    return Grafana(fake.url, TOKEN)


def states(items):
    return [item.state for item in items]


def test_push_makes_folder_data_source_and_dashboards_and_then_changes_nothing(fake, grafana):
    assert states(push(grafana, WANTED)) == [State.CREATED] * 7
    assert sorted(fake.dashboards) == sorted(board["uid"] for board in shipped().values())
    assert fake.sources[SOURCE]["url"] == "http://prometheus:9090"
    assert fake.sources[SOURCE]["jsonData"]["timeInterval"] == "15s"
    fake.written.clear()
    assert states(push(grafana, WANTED)) == [State.SAME] * 7
    assert states(check(grafana, WANTED)) == [State.SAME] * 7
    assert fake.written == []


def test_what_was_changed_is_told_and_brought_back(fake, grafana):
    list(push(grafana, WANTED))
    fake.dashboards["capacity-advisor"]["title"] = "Mine"
    del fake.dashboards["capacity-advisor-demand"]
    fake.sources[SOURCE]["jsonData"]["timeInterval"] = "60s"
    found = {item.name: item.state for item in check(grafana, WANTED) if item.state is not State.SAME}
    assert found == {
        "Capacity overview": State.DIFFERS,
        "Demand and forecast": State.MISSING,
        "Capacity Advisor Prometheus": State.DIFFERS,
    }
    done = {item.name: item.state for item in push(grafana, WANTED) if item.state is not State.SAME}
    assert done == {
        "Capacity overview": State.UPDATED,
        "Demand and forecast": State.CREATED,
        "Capacity Advisor Prometheus": State.UPDATED,
    }
    assert states(check(grafana, WANTED)) == [State.SAME] * 7


def test_without_an_address_any_prometheus_will_do_and_none_is_told(fake, grafana):
    items = list(push(grafana, Boards()))
    assert items[1].state is State.MISSING
    assert "--prometheus" in items[1].note
    fake.sources["own"] = {"uid": "own", "name": "Mimir", "type": "prometheus"}
    assert (items := list(check(grafana, Boards())))[1].name == "Mimir"
    assert states(items) == [State.SAME] * 7


def test_provisioned_dashboards_are_not_pushed(fake, grafana):
    fake.provisioned.add("capacity-advisor")
    with pytest.raises(GrafanaFailed, match=r"400 .*provisioned") as failed:
        list(push(grafana, WANTED))
    assert "never both" in failed.value.hint


def test_a_wrong_token_says_how_to_make_one(fake):
    with pytest.raises(GrafanaFailed, match="would not read its folders: 401") as failed:
        list(check(Grafana(fake.url, "wrong"), WANTED))
    assert "service account" in failed.value.hint
    assert failed.value.exit_code == 4


def test_a_token_that_may_too_little_says_which_role(fake, grafana):
    fake.forbidden = "/datasources"
    with pytest.raises(GrafanaFailed, match="would not create a data source: 403") as failed:
        list(push(grafana, WANTED))
    assert "Admin" in failed.value.hint


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        ((200, "<html>please log in</html>"), "does not answer as Grafana does"),
        ((200, '{"half'), "does not answer as Grafana does"),
        ((503, '{"message": "starting"}'), "503 .*starting"),
        (0.6, "no answer within"),
    ],
)
def test_what_is_no_answer(fake, monkeypatch, fail, words):
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    fake.fail = fail
    with pytest.raises(GrafanaFailed, match=words) as failed:
        list(check(Grafana(fake.url, TOKEN), WANTED))
    assert "Traceback" not in failed.value.message


def test_nobody_there():
    with pytest.raises(GrafanaFailed, match=r"cannot be reached: Connection refused$"):
        list(check(Grafana("http://127.0.0.1:9", TOKEN), WANTED))


def test_a_name_that_is_not_known():
    def unresolved():
        raise ConnectionError("Max retries (Caused by NameResolutionError(\"Failed to resolve 'grafana'\"))")

    with pytest.raises(GrafanaFailed, match=r"cannot be reached: its name is not known$"):
        Grafana("http://grafana:3000", TOKEN)._call("look", unresolved)


def test_export_writes_what_can_be_provisioned(tmp_path):
    names = {path.name for path in export(tmp_path / "new" / "folder")}
    assert names == {*shipped(), "alerts.yaml", "rules.yaml"}
    assert (tmp_path / "new" / "folder" / "alerts.yaml").read_text().startswith("# Alerts")


def test_exported_alerts_lead_to_the_runbook_where_people_reach_it(tmp_path):
    list(export(tmp_path, "https://wiki.example/runbook"))
    text = (tmp_path / "alerts.yaml").read_text()
    assert "runbook_url: https://wiki.example/runbook#demandabovecapacity\n" in text
    assert "runbook_url: docs/" not in text


# -------------------------------------------------------------------------------------------- annotations


def run(status=RunStatus.DONE, **more):
    return Run("abc", "heart", "capacity", SLO, NOW, status, **more)


def test_a_run_under_way_and_then_over(fake, grafana):
    mark(grafana, annotation_of(run(RunStatus.RUNNING), "http://advisor:8000/"))
    (first,) = fake.annotations.values()
    assert first["time"] == first["timeEnd"] == NOW * 1000
    assert first["tags"] == ["capacity-advisor", "heart", "capacity", "run:abc", "running"]
    assert "http://advisor:8000/runs/abc/page.html" in first["text"]
    done = run(verdict=Verdict(VerdictStatus.VALID), capacity=capacity(), ended_at=NOW + 90)
    mark(grafana, annotation_of(done, "http://advisor:8000/"))
    (second,) = fake.annotations.values()
    assert second["time"] == NOW * 1000
    assert second["timeEnd"] == (NOW + 90) * 1000
    assert second["tags"][-2:] == ["done", "valid"]
    assert "valid: 70 req/s (65 to 75, 90%)" in second["text"]
    assert "http://advisor:8000/runs/abc/report.html" in second["text"]


def test_marking_again_writes_nothing(fake, grafana):
    done = annotation_of(run(verdict=Verdict(VerdictStatus.INVALID, ("too slow",)), ended_at=NOW + 1), None)
    mark(grafana, done)
    fake.written.clear()
    mark(grafana, done)
    assert fake.written == []
    assert len(fake.annotations) == 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"verdict": Verdict(VerdictStatus.INVALID, ("too slow",))}, "invalid: too slow"),
        ({"verdict": Verdict(VerdictStatus.VALID), "capacity": Refusal("no knee")}, "valid: no knee"),
        ({"status": RunStatus.ABORTED, "reason": "a <b> person"}, "aborted: a &lt;b&gt; person"),
        ({"status": RunStatus.INTERRUPTED}, "interrupted"),
        ({"verdict": Verdict(VerdictStatus.VALID)}, "valid"),
    ],
)
def test_the_words_of_an_outcome(more, words):
    text = annotation_of(run(**{"ended_at": NOW, **more}), None).text
    assert text.split("<br>")[1:] == [words]
