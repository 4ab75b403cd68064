"""`capacity-advisor inject` as typed: manifests alone on stdout, words on stderr, mistakes end with 2."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer.main

from advisor.cli import main
from advisor.cli.app import app

PLAIN = Path(__file__).parents[1] / "fixtures" / "manifests" / "02-comments.yaml"


@pytest.fixture
def type_in(monkeypatch, capfdbinary):
    def run(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
        monkeypatch.setattr(sys, "argv", ["capacity-advisor", "inject", *arguments])
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin), isatty=lambda: False))
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capfdbinary.readouterr()
        return ended.value.code or 0, shown.out, " ".join(shown.err.decode().split())

    return run


def test_a_pipe_of_it_and_its_removal_is_no_change(type_in):
    code, injected, said = type_in("--slo", "p95=150ms", stdin=PLAIN.read_bytes())
    assert code == 0
    assert b"--slo=p95=150ms" in injected
    assert "the port named 'http' is now the sidecar's" in said
    code, removed, _ = type_in("--remove", stdin=injected)
    assert code == 0
    assert removed == PLAIN.read_bytes()


def test_a_file_is_read_and_the_image_comes_from_the_environment(type_in, monkeypatch):
    monkeypatch.setenv("CAPACITY_ADVISOR_SIDECAR_IMAGE", "registry.example/exporter@sha256:0")
    _, injected, _ = type_in(str(PLAIN))
    assert b"image: registry.example/exporter@sha256:0\n" in injected


def test_removal_where_there_is_nothing_gives_the_input_and_says_so(type_in):
    code, out, said = type_in("--remove", str(PLAIN))
    assert (code, out) == (0, PLAIN.read_bytes())
    assert "nothing was injected here" in said


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["none.yaml"], b"", "cannot read none.yaml: No such file"),
        ([], b"a: 1\nb: \xff\n", "stdin:2: it is not UTF-8 text"),
        ([], b"a: [", "stdin:1: not YAML"),
        ([], b"kind: Service\n", "stdin: there is no workload to inject"),
        (["--slo", "p95"], PLAIN.read_bytes(), "--slo: 'p95' is not an objective"),
        (["--no-proxy"], PLAIN.read_bytes(), "nothing to observe"),
        (["--no-proxy", "--scrape", "auto", "--port", "http"], PLAIN.read_bytes(), "--port is of the proxy"),
        (["--max-queue", "3"], PLAIN.read_bytes(), "--max-queue needs --max-in-flight"),
        (["--memory", "much"], PLAIN.read_bytes(), "--memory 'much' is not a quantity"),
        (["--port", "grpc"], PLAIN.read_bytes(), "stdin:21: Deployment heart-disease is left as it is"),
        (["--port", "70000"], PLAIN.read_bytes(), "--port '70000' is no port"),
        (["--target", "a b"], PLAIN.read_bytes(), "--target 'a b' cannot be a label"),
        (["--process", "gunicorn"], PLAIN.read_bytes(), "--process 'gunicorn' does not name a process"),
        ([], b"kind: Pod\nmetadata: {name: {{ .Release.Name }}}\n", "render it first"),
        (["--container", "other"], PLAIN.read_bytes(), "no container 'other', but model"),
    ],
)
def test_a_mistake_ends_with_2_and_prints_no_manifest(type_in, arguments, stdin, said):
    code, out, err = type_in(*arguments, stdin=stdin)
    assert code == 2
    assert out == b""
    assert said in err


def test_what_the_operations_page_types_is_accepted():
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    lines = re.findall(r"^\$ capacity-advisor inject (.*?)(?: \| .*)?$", page, re.MULTILINE)
    assert len(lines) == 2
    command = typer.main.get_command(app).commands["inject"]
    for line in lines:
        command.make_context("inject", shlex.split(line), resilient_parsing=False)
