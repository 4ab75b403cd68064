"""A server that speaks as much of Grafana's HTTP API as the advisor uses: there is no Grafana for the tests.

Paths, bodies, statuses and messages are those of Grafana's HTTP API reference (folder, data source,
dashboard, annotations; 11 and 12); it keeps what it is given and notes every request that changes something.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKEN = "glsa_good"
PREFIX = "/grafana"  # served under a path, as behind an ingress


class FakeGrafana:
    """`fail`: (status, body) of every answer, or seconds of silence; `provisioned`: uids of files."""

    def __init__(self) -> None:
        self.folders: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.annotations: dict[int, dict[str, Any]] = {}
        self.written: list[str] = []
        self.provisioned: set[str] = set()
        self.fail: tuple[int, str] | float | None = None
        self.forbidden = ""  # a path under which the token may not write
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIX}"

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method != "GET":
            if self.forbidden and path.startswith(self.forbidden):
                needed = "You'll need additional permissions to perform this action. Permissions needed: x"
                return 403, {"accessErrorId": "ACE1", "message": needed, "title": "Access denied"}
            self.written.append(f"{method} {path}")
        match method, path.strip("/").split("/"):
            case "GET", ["folders", uid]:
                missing = {"message": "folder not found", "status": "not-found"}
                return (200, self.folders[uid]) if uid in self.folders else (404, missing)
            case "POST", ["folders"]:
                self.folders[body["uid"]] = {"id": len(self.folders) + 1, **body}
                return 200, self.folders[body["uid"]]
            case "GET", ["datasources"]:
                return 200, list(self.sources.values())
            case "POST", ["datasources"]:
                self.sources[body["uid"]] = {"id": len(self.sources) + 1, **body}
                return 200, {"datasource": body, "id": 1, "message": "Datasource added", "name": body["name"]}
            case "PUT", ["datasources", "uid", uid]:
                self.sources[uid] = {**self.sources[uid], **body}
                return 200, {"datasource": body, "message": "Datasource updated", "name": body["name"]}
            case "GET", ["dashboards", "uid", uid]:
                if uid not in self.dashboards:
                    return 404, {"message": "Dashboard not found", "traceID": ""}
                return 200, {"meta": {"isStarred": False, "folderUid": ""}, "dashboard": self.dashboards[uid]}
            case "POST", ["dashboards", "db"]:
                return self._save(body)
            case "GET", ["annotations"]:
                wanted = set(query.get("tags", []))
                return 200, [a for a in self.annotations.values() if wanted <= set(a["tags"])]
            case "POST", ["annotations"]:
                number = len(self.annotations) + 1
                end = body["timeEnd"] if body["timeEnd"] is not None else body["time"]
                self.annotations[number] = {"id": number, **body, "timeEnd": end}
                return 200, {"message": "Annotation added", "id": number}
            case "PUT", ["annotations", number]:
                self.annotations[int(number)].update(body)
                return 200, {"message": "Annotation updated"}
        return 404, {"message": "Not found", "traceID": ""}

    def _save(self, body: dict[str, Any]) -> tuple[int, Any]:
        board = body["dashboard"]
        uid = board["uid"]
        if uid in self.provisioned:
            return 400, {"message": "Cannot save provisioned dashboard", "traceID": ""}
        if uid in self.dashboards and not body["overwrite"]:
            message = "The dashboard has been changed by someone else"
            return 412, {"status": "version-mismatch", "message": message}
        if body["folderUid"] not in self.folders:
            return 400, {"message": "folder not found", "traceID": ""}
        version = self.dashboards.get(uid, {"version": 0})["version"] + 1
        self.dashboards[uid] = {**board, "id": len(self.dashboards) + 1, "version": version}
        return 200, {"id": 1, "uid": uid, "url": f"/d/{uid}/x", "status": "success", "version": version}


@contextlib.contextmanager
def fake_grafana() -> Iterator[FakeGrafana]:
    fake = FakeGrafana()

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"null")
            parts = urlsplit(self.path)
            if isinstance(fake.fail, float):
                time.sleep(fake.fail)
            if isinstance(fake.fail, tuple):
                status, answer = fake.fail
                self.say(status, answer, "text/html" if answer.startswith("<") else "application/json")
            elif not re.match(rf"{PREFIX}/api/", parts.path):
                self.say(404, "404 page not found", "text/plain")
            elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
                refusal = {"message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401}
                self.say(401, json.dumps(refusal), "application/json")
            else:
                path = parts.path.removeprefix(f"{PREFIX}/api")
                status, found = fake.answer(self.command, path, parse_qs(parts.query), body)
                self.say(status, json.dumps(found), "application/json")

        do_GET = do_POST = do_PUT = handle_one  # noqa: N815

        def say(self, status: int, text: str, kind: str) -> None:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
