"""What `--payload` is taken for, and what is said when it cannot be sent."""

from __future__ import annotations

import os

import pytest

from advisor.cli.payload import PayloadKind, read_payload
from advisor.errors import ConfigurationError


@pytest.mark.parametrize(
    ("name", "body", "kind", "content_type"),
    [
        ("body.json", b'{"a": 1}', PayloadKind.FILE, "application/json"),
        ("body.JSON", b"[1]", PayloadKind.FILE, "application/json"),
        ("body", b'  {"a": 1}', PayloadKind.FILE, "application/json"),
        ("rows.jsonl", b'{"a": 1}\n\n{"a": 2}\n', PayloadKind.JSONL, "application/json"),
        ("rows.ndjson", b"1\n", PayloadKind.JSONL, "application/json"),
        ("cat.png", b"not looked at", PayloadKind.FILE, "image/png"),
        ("cat", b"\x89PNG\r\n\x1a\n....", PayloadKind.FILE, "image/png"),
        ("cat.bin2", b"\xff\xd8\xff\xe0", PayloadKind.FILE, "image/jpeg"),
        ("words", b"hello", PayloadKind.FILE, "text/plain; charset=utf-8"),
        ("tensor", b"\x00\x01\xfe", PayloadKind.FILE, "application/octet-stream"),
    ],
)
def test_kind_and_content_type(tmp_path, name, body, kind, content_type):
    path = tmp_path / name
    path.write_bytes(body)
    payload = read_payload(str(path))
    assert (payload.kind, payload.content_type, payload.value) == (kind, content_type, str(path))


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        ("body.json", b'{"a": }', ":1: not JSON: Expecting value (column 7)"),
        ("body.json", b'{\n"a": 1,\n}', ":3: not JSON"),
        ("rows.jsonl", b'{"a": 1}\n{"a"\n', ":2: not JSON"),
        ("rows.jsonl", b"\xff\xfe", "not UTF-8 text at byte 0"),
        ("body.json", b" \n", "is empty"),
        ("body.json", b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_file_is_told_with_its_line(tmp_path, name, body, message):
    path = tmp_path / name
    path.write_bytes(body)
    with pytest.raises(ConfigurationError) as caught:
        read_payload(str(path))
    assert message in caught.value.message
    assert str(path) in caught.value.message


def test_missing_folder_and_unreadable(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        read_payload(str(tmp_path / "none.json"))
    with pytest.raises(ConfigurationError, match="Is a directory"):
        read_payload(str(tmp_path))
    if os.geteuid():  # root reads everything
        path = tmp_path / "secret.json"
        path.write_text("{}")
        path.chmod(0)
        with pytest.raises(ConfigurationError, match="Permission denied"):
            read_payload(str(path))


def test_a_told_kind_wins_over_the_name(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("1\n2\n")
    assert read_payload(str(path), PayloadKind.JSONL).kind is PayloadKind.JSONL


def test_openapi_is_a_path_on_the_target():
    assert read_payload("/openapi.json", PayloadKind.OPENAPI).value == "/openapi.json"
    with pytest.raises(ConfigurationError, match="it is a path on the target"):
        read_payload("openapi.json", PayloadKind.OPENAPI)
