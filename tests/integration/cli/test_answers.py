"""A model that answers wrongly when it is busy and takes what it should refuse: told by `run`, end to end."""

from __future__ import annotations

import json
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.integration

SCHEMA = {
    "type": "object",
    "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["x"],
}
CONFIG = """
store: sqlite:///advisor.db
targets:
  - name: careless
    url: {url}
    requests:
      - path: /predict
        payload: {{schema: s.json, pool: 20}}
        weight: 3
        accuracy: {{compare: tolerance, pointer: /score, absolute: 1e-6, share: 99%}}
      - {{path: /predict, payload: {{schema: s.json, invalid: true}}, within: 200ms}}
    slo: {{latency: {{p95: 900ms}}}}
"""


class Careless(BaseHTTPRequestHandler):
    """Half of the score while another request is at work; a text is taken for a number, no `x` is a crash."""

    protocol_version = "HTTP/1.1"
    busy = 0
    lock = threading.Lock()

    def do_POST(self) -> None:
        with self.lock:
            Careless.busy += 1
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(0.02)
        crowded = Careless.busy > 1
        x = body.get("x") if isinstance(body, dict) else None
        if x is None:
            self._answer(500, {})
        elif isinstance(x, int) and not 0 <= x <= 99:
            self._answer(422, {})
        else:
            self._answer(200, {"score": len(str(x)) / (2 if crowded else 1), "at": time.time()})
        with self.lock:
            Careless.busy -= 1

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def careless(tmp_path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Careless)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    (tmp_path / "s.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "a.yaml").write_text(CONFIG.format(url=f"http://127.0.0.1:{server.server_port}"))
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_wrong_answers_and_taken_requests_are_figures_reasons_and_an_exit_code(careless, type_in, tmp_path):
    ended = type_in(
        "run", "careless", "--config", "a.yaml", "--scenario", "load", "--rate", "60", "--duration", "3s",
        "--json", "--junit", "j.xml",
    )  # fmt: skip
    assert ended.code == 1, ended.err
    document = json.loads(ended.out)
    (refused,) = document["findings"]["invalid_requests"]
    assert refused["kind"] == "POST /predict invalid"
    parts = [refused[name] for name in ("refused", "accepted", "server_errors")]
    assert sum(parts) == refused["requests"] > 20
    assert min(parts) > 0
    assert refused["passed"]["#/: 'x' is a required property"] == "server_error"
    assert "accepted" in refused["passed"].values()
    assert refused["p95_seconds"] > 0.02
    assert refused["within_seconds"] == 0.2
    outcomes = document["stages"][-1]["outcomes"]
    assert (outcomes["accepted"], outcomes["server_error"]) == (parts[1], parts[2])
    (agreement,) = document["findings"]["accuracy"]
    assert agreement["stage"] == document["stages"][-1]["name"]
    assert 10 < agreement["compared"] <= 120  # at most 20 a second
    low, high = agreement["interval"]
    assert low <= agreement["share"] <= high < 0.99
    failed = {
        case.get("name")
        for case in ET.parse(tmp_path / "j.xml").iter("testcase")
        if case.find("failure") is not None
    }
    assert "POST /predict invalid is refused" in failed
    assert any(name.startswith("answers to POST /predict stay right") for name in failed)
