"""From the configuration to the pool, and every mistake on the way in words."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jsonschema
import numpy as np
import pytest
from PIL import Image

from advisor.domain import Outcome
from advisor.errors import ConfigurationError, PayloadRejected, TargetUnreachable
from advisor.loadtest.payloads import build_kinds
from advisor.loadtest.preflight import preflight
from advisor.loadtest.protocol import Caps, Choice, Kind, Prepared, Setup
from advisor.settings import RequestSettings

PERSON = {
    "type": "object",
    "properties": {"age": {"type": "integer", "minimum": 18, "maximum": 99}, "sex": {"enum": ["m", "f"]}},
    "required": ["age", "sex"],
}
PERSON_BODY = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Person"}}}}
NAME = {"name": "name", "in": "path", "required": True, "schema": {"enum": ["a b", "c"]}}
TOP = {"type": "integer", "minimum": 1, "maximum": 3}
OPENAPI = {
    "openapi": "3.1.0",
    "paths": {
        "/predict": {"post": {"requestBody": PERSON_BODY}},
        "/models/{name}/predict": {
            "parameters": [NAME],
            "post": {
                "parameters": [
                    {"name": "top", "in": "query", "required": True, "schema": TOP},
                    {"$ref": "#/components/parameters/Key"},
                    {"name": "debug", "in": "query", "schema": {"type": "boolean"}},
                ],
                "requestBody": {"$ref": "#/components/requestBodies/Person"},
            },
        },
        "/upload": {"post": {"requestBody": {"content": {"image/png": {}}}}},
        "/health": {"get": {}},
    },
    "components": {
        "schemas": {"Person": PERSON},
        "requestBodies": {"Person": PERSON_BODY},
        "parameters": {"Key": {"name": "X-Key", "in": "header", "required": True, "schema": {"const": "k1"}}},
    },
}
METADATA = {
    "name": "net",
    "inputs": [
        {"name": "x", "datatype": "FP32", "shape": [-1, 4]},
        {"name": "n", "datatype": "INT64", "shape": [1]},
        {"name": "t", "datatype": "BYTES", "shape": [-1, -1]},
        {"name": "b", "datatype": "BOOL", "shape": [2]},
    ],
}


class Target(BaseHTTPRequestHandler):
    """A model server with descriptions of itself; refuses ages of 90 and more with 500."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(307)
            self.send_header("Location", "/health")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/private.json" and self.headers["Authorization"] != "Bearer s3":
            self._answer(401, {})
            return
        documents = {
            "/private.json": OPENAPI,
            "/openapi.json": OPENAPI,
            "/v2/models/net": METADATA,
            "/health": {},
        }
        document = documents.get(self.path)
        self._answer(200 if document is not None else 404, document)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        valid = jsonschema.Draft202012Validator(PERSON).is_valid(body)
        self._answer(200 if valid else 422, {"detail": "fine" if valid else "not a person"})

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def build(*requests: dict, url: str = "http://127.0.0.1:9", **more) -> tuple[Kind, ...]:
    return asyncio.run(build_kinds([RequestSettings(**request) for request in requests], url, **more))


def test_a_fixed_file_of_any_type(tmp_path) -> None:
    (tmp_path / "body.json").write_bytes(b'{"a": 1}\n')
    (tmp_path / "body.bin").write_bytes(bytes(range(256)))
    a, b = build(
        {"payload": {"file": tmp_path / "body.json"}, "headers": {"X-A": "1"}},
        {"payload": {"file": tmp_path / "body.bin"}, "method": "PUT", "path": "/x"},
    )
    assert a.pool == (Prepared("/", b'{"a": 1}\n', (("Content-Type", "application/json"), ("X-A", "1"))),)
    assert b.pool[0].body == bytes(range(256))
    assert b.pool[0].headers == (("Content-Type", "application/octet-stream"),)
    assert (a.method, b.method, b.name) == ("POST", "PUT", "PUT /x")


def test_a_secret_header_comes_from_the_environment_and_opens_the_description_too(url) -> None:
    request = {"path": "/predict", "payload": {"openapi": "/private.json", "pool": 2}}
    with pytest.raises(ConfigurationError, match="status 401") as closed:
        build(request, url=url)
    assert closed.value.hint == "give the credentials as a header"
    secret = {**request, "headers_env": {"Authorization": "MODEL_AUTH"}}
    with pytest.raises(ConfigurationError, match="'Authorization' of POST /predict: MODEL_AUTH is not set"):
        build(secret, url=url, environment={"MODEL_AUTH": " "})
    [kind] = build(secret, url=url, environment={"MODEL_AUTH": "Bearer s3\n"})
    assert all(("Authorization", "Bearer s3") in prepared.headers for prepared in kind.pool)


def test_json_lines_keep_their_order(tmp_path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"a":1}\n\n  {"a":2}  \n')
    [kind] = build({"payload": {"jsonl": tmp_path / "rows.jsonl"}})
    assert [p.body for p in kind.pool] == [b'{"a":1}', b'{"a":2}']
    assert kind.choice is Choice.SEQUENTIAL
    [kind] = build({"payload": {"jsonl": tmp_path / "rows.jsonl", "zipf": 1.1}})
    assert (kind.choice, kind.zipf) == (Choice.ZIPF, 1.1)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.json", b'{"a": 1,\n oops}', r"a\.json:2: not JSON"),
        ("a.jsonl", b'{"a": 1}\n{"b": }\n', r"a\.jsonl:2: not JSON"),
        ("a.jsonl", b"\n\n", "no request in it"),
        ("a.json", b"\xff\xfe\x00", "not"),
    ],
)
def test_mistakes_in_files_name_file_and_line(tmp_path, name, content, words) -> None:
    (tmp_path / name).write_bytes(content)
    key = "file" if name.endswith(".json") else "jsonl"
    with pytest.raises(ConfigurationError, match=words):
        build({"payload": {key: tmp_path / name}})


def test_an_unreadable_file(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*gone\.json: No such file"):
        build({"payload": {"file": tmp_path / "gone.json"}})
    with pytest.raises(ConfigurationError, match="Is a directory"):
        build({"payload": {"file": tmp_path}})


def test_openapi_bodies_paths_queries_and_headers(url) -> None:
    good, bad, both = build(
        {"path": "/predict", "payload": {"openapi": "/openapi.json", "pool": 50}, "weight": 4},
        {"path": "/predict", "payload": {"openapi": "/openapi.json", "invalid": True, "pool": 50}},
        {"path": "/models/{name}/predict", "payload": {"openapi": "/openapi.json", "pool": 50}},
        url=url,
    )
    validator = jsonschema.Draft202012Validator(PERSON)
    assert all(validator.is_valid(json.loads(p.body)) for p in good.pool)
    assert len(good.pool) > 25
    assert not any(validator.is_valid(json.loads(p.body)) for p in bad.pool)
    assert (good.expect, good.weight, bad.expect) == (None, 4, "4xx")
    assert bad.name == "POST /predict invalid"
    paths = {p.path for p in both.pool}
    assert paths <= {f"/models/{m}/predict?top={n}" for m in ("a%20b", "c") for n in (1, 2, 3)}
    assert all(("X-Key", "k1") in p.headers for p in both.pool)


def test_a_filled_in_path_finds_its_template(url) -> None:
    [kind] = build({"path": "/models/c/predict", "payload": {"openapi": "/openapi.json", "pool": 5}}, url=url)
    assert {p.path.partition("?")[0] for p in kind.pool} == {"/models/c/predict"}


def test_the_same_seed_makes_the_same_pool(url) -> None:
    request = {"path": "/predict", "payload": {"openapi": "/openapi.json"}}
    assert build(request, url=url, seed=3) == build(request, url=url, seed=3)
    assert build(request, url=url, seed=3) != build(request, url=url, seed=4)


def test_an_openapi_file_beside_the_configuration(tmp_path) -> None:
    (tmp_path / "api.yaml").write_text(json.dumps(OPENAPI))
    [kind] = build({"path": "/predict", "payload": {"openapi": "api.yaml", "pool": 3}}, folder=tmp_path)
    assert len(kind.pool) == 3


def test_a_json_schema_file(tmp_path) -> None:
    (tmp_path / "s.json").write_text(json.dumps(PERSON))
    good, bad = build(
        {"payload": {"schema": tmp_path / "s.json", "pool": 20}},
        {"payload": {"schema": tmp_path / "s.json", "pool": 20, "invalid": True}, "expect": "422"},
    )
    assert all(18 <= json.loads(p.body)["age"] <= 99 for p in good.pool)
    assert bad.expect == "422"


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"path": "/nope", "payload": {"openapi": "/openapi.json"}}, "no operation POST /nope"),
        ({"path": "/upload", "payload": {"openapi": "/openapi.json"}}, "image/png cannot be generated"),
        ({"path": "/predict", "payload": {"openapi": "/gone.json"}}, r"/gone\.json: status 404"),
        ({"path": "/predict", "payload": {"openapi": "/health"}}, "not an OpenAPI description"),
        ({"path": "/predict", "payload": {"openapi": "gone.yaml"}}, "no such file"),
        (
            {"path": "/health", "method": "GET", "payload": {"openapi": "/openapi.json", "invalid": True}},
            "takes no body",
        ),
        ({"payload": {"open_inference": {"model": "gone"}}}, "status 404"),
        ({"payload": {"file": "x.json", "invalid": True}}, "'invalid' needs a description"),
        ({"payload": {"locustfile": "x.py"}}, "brings users"),
    ],
)
def test_mistakes_in_descriptions_are_one_sentence(url, request_, words) -> None:
    with pytest.raises(ConfigurationError, match=words):
        build(request_, url=url)


def test_a_target_that_is_not_there() -> None:
    with pytest.raises(TargetUnreachable, match=r"cannot fetch http://127\.0\.0\.1:9/openapi\.json"):
        build({"path": "/predict", "payload": {"openapi": "/openapi.json"}})


def test_tensors_follow_the_models_metadata(url) -> None:
    [kind] = build({"payload": {"open_inference": {"model": "net", "batch": 3}, "pool": 4}}, url=url)
    assert kind.pool[0].path == "/v2/models/net/infer"
    x, n, t, b = json.loads(kind.pool[0].body)["inputs"]
    assert (x["shape"], len(x["data"])) == ([3, 4], 12)
    assert (n["shape"], type(n["data"][0])) == ([1], int)
    assert (t["shape"], type(t["data"][0])) == ([3, 8], str)
    assert type(b["data"][0]) is bool


def test_tensors_as_the_bytes_of_the_binary_extension(url) -> None:
    settings = {"model": "net", "batch": 3, "length": {"uniform": [2, 6]}, "binary": True}
    [kind] = build({"payload": {"open_inference": settings, "pool": 8}}, url=url)
    lengths = set()
    for prepared in kind.pool:
        headers = dict(prepared.headers)
        head = int(headers["Inference-Header-Content-Length"])
        x, n, t, b = json.loads(prepared.body[:head])["inputs"]
        sizes = [i["parameters"]["binary_data_size"] for i in (x, n, t, b)]
        assert len(prepared.body) == head + sum(sizes)
        assert (sizes[0], sizes[1], sizes[3]) == (12 * 4, 8, 2)
        assert np.abs(np.frombuffer(prepared.body, "<f4", 12, head)).max() < 6
        start, texts = head + sizes[0] + sizes[1], []
        while start < head + sum(sizes[:3]):
            size = int.from_bytes(prepared.body[start : start + 4], "little")
            texts.append(prepared.body[start + 4 : start + 4 + size])
            start += 4 + size
        assert t["shape"] == [3, len(texts) // 3]
        assert all(text.startswith(b"text ") for text in texts)
        lengths.add(t["shape"][1])
    assert lengths <= set(range(2, 7))
    assert len(lengths) > 1


@pytest.mark.parametrize(("datatype", "size"), [("BF16", 2), ("FP16", 2), ("FP64", 8), ("UINT8", 1)])
def test_a_tensor_has_the_size_of_its_type(datatype, size) -> None:
    from advisor.loadtest.payloads.inference import _bytes, _Tensor

    values = np.array([1.0, -2.5, 3.0]) if size != 1 else np.array([1, 2, 3])
    data = _bytes(_Tensor("x", datatype, [3], values))
    assert len(data) == 3 * size
    if datatype == "BF16":
        whole = np.frombuffer(data, "<u2").astype("<u4") << 16
        assert whole.view("<f4").tolist() == [1.0, -2.5, 3.0]


def test_pictures_have_sizes_in_range_and_can_be_read() -> None:
    raw, form = build(
        {"payload": {"image": {"format": "png", "width": [10, 40], "height": [5, 6]}, "pool": 12}},
        {
            "payload": {
                "image": {"format": "jpeg", "width": [64, 64], "height": [64, 64], "field": "file"},
                "pool": 2,
            }
        },
    )
    sizes = set()
    for prepared in raw.pool:
        picture = Image.open(io.BytesIO(prepared.body))
        picture.load()
        sizes.add(picture.size)
        assert 10 <= picture.width <= 40
        assert 5 <= picture.height <= 6
    assert len(sizes) > 3
    header = dict(form.pool[0].headers)["Content-Type"]
    boundary = header.removeprefix("multipart/form-data; boundary=").encode()
    head, _, rest = form.pool[0].body.partition(b"\r\n\r\n")
    assert head.startswith(b"--" + boundary + b"\r\n")
    assert b'name="file"' in head
    assert Image.open(io.BytesIO(rest.removesuffix(b"\r\n--" + boundary + b"--\r\n"))).size == (64, 64)


def test_chats_stream_and_stay_in_their_ranges() -> None:
    chat = {"model": "m", "prompt_words": [5, 9], "max_tokens": [3, 4]}
    [kind] = build({"path": "/v1/chat/completions", "payload": {"openai_chat": chat, "pool": 30}})
    bodies = [json.loads(p.body) for p in kind.pool]
    assert kind.streaming
    assert {len(b["messages"][0]["content"].split()) for b in bodies} <= set(range(5, 10))
    assert {b["max_tokens"] for b in bodies} == {3, 4}
    assert len({b["messages"][0]["content"] for b in bodies}) == 30


def test_kinds_that_look_alike_are_told_apart() -> None:
    assert [k.name for k in build({}, {}, {"path": "/x"})] == ["GET / #1", "GET / #2", "GET /x"]


# ------------------------------------------------------------------------------------------------- preflight


def fly(url: str, *kinds: Kind, **more):
    return asyncio.run(preflight(Setup(url, kinds, caps=Caps(), timeout=2, connect_timeout=1), **more))


def body_of(**person: object) -> Prepared:
    return Prepared("/predict", json.dumps(person).encode(), (("Content-Type", "application/json"),))


def test_preflight_tells_status_and_latency_of_each_kind(url) -> None:
    kinds = build(
        {"path": "/predict", "payload": {"openapi": "/openapi.json"}},
        {"path": "/predict", "payload": {"openapi": "/openapi.json", "invalid": True}},
        {"path": "/health", "method": "GET"},
        url=url,
    )
    tried = fly(url, *kinds, per_kind=4)
    assert [t.status for t in tried] == [200] * 4 + [422] * 4 + [200]
    assert all(t.latency > 0 for t in tried)


def test_a_refused_payload_is_shown_with_the_answer(url) -> None:
    with pytest.raises(PayloadRejected) as caught:
        fly(url, Kind("k", "POST", (body_of(age=5),)))
    message = caught.value.message
    assert "/predict: status 422, expected 2xx or 3xx" in message
    assert "not a person" in message
    assert '"age": 5' in message
    with pytest.raises(PayloadRejected, match="status 404"):
        fly(url, Kind("k", "GET", (Prepared("/gone"),)))


def test_a_request_that_should_be_refused_and_is_not_does_not_stop_the_run(url) -> None:
    [tried] = fly(url, Kind("k", "POST", (body_of(age=50, sex="f"),), expect="4xx"))
    assert (tried.status, tried.outcome) == (200, Outcome.ACCEPTED)


def test_a_redirect_is_not_what_is_to_be_loaded_unless_expected(url) -> None:
    with pytest.raises(PayloadRejected, match=f"/moved: status 307, a redirect to {url}/health"):
        fly(url, Kind("k", "GET", (Prepared("/moved"),)))
    tried = fly(url, Kind("k", "GET", (Prepared("/moved"),), expect="3xx"))
    assert [t.status for t in tried] == [307]


def test_targets_that_do_not_answer_are_told_with_what_was_tried() -> None:
    with pytest.raises(TargetUnreachable, match=r"GET http://127\.0\.0\.1:9/"):
        fly("http://127.0.0.1:9", Kind("k", "GET", (Prepared("/"),)))


def test_preflight_spreads_over_the_pool(url) -> None:
    pool = tuple(Prepared(f"/health?{np.base_repr(i)}") for i in range(100))
    with pytest.raises(PayloadRejected, match=r"health\?0: status 404"):
        fly(url, Kind("k", "GET", pool))
    pool = tuple(Prepared("/health") for _ in range(99))
    with pytest.raises(PayloadRejected, match="gone"):
        fly(url, Kind("k", "GET", (*pool, Prepared("/gone"))))
