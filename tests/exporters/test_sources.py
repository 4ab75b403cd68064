"""From the person's words to sources, and to series that other parts can join."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from exporters import names
from exporters.samples import Sample
from exporters.sources import build_sources
from tests.exporters.test_servers_scrape import serving, text

PAGE = (Path(__file__).parent.parent / "fixtures" / "servers" / "triton.prom").read_text()


def depths(source):
    return {
        sample.labels[0]: sample.value
        for sample in source.collect()
        if isinstance(sample, Sample) and sample.metric is names.QUEUE_DEPTH
    }


def test_order_and_names():
    sources = build_sources(
        scrapes=["triton", "auto"], processes=[f"pid={os.getpid()}"], gpu="auto", upstream=("127.0.0.1", 8080)
    )
    assert [source.name for source in sources] == ["scrape:triton", "scrape:auto", "process", "gpu"]
    assert build_sources() == []


@pytest.mark.parametrize(
    ("models", "upstream", "expected"),
    [
        (("default",), None, {"densenet": 7, "bert": 0}),  # the server's own names
        (("default",), ("127.0.0.1", 1), {"default": 7}),  # as the proxy counts: one target
        (("heart",), None, {"heart": 7}),
        (("densenet", "resnet"), None, {"densenet": 7, "other": 0}),  # an allow-list
    ],
)
def test_models_of_a_scraped_server(models, upstream, expected):
    with serving(text(PAGE)) as (url, _):
        (source,) = build_sources(scrapes=[f"triton={url}/metrics"], models=models, upstream=upstream)
        assert depths(source) == expected


def test_behind_the_proxy_the_server_leaves_requests_to_it():
    with serving(text(PAGE)) as (url, _):
        (source,) = build_sources(scrapes=[f"triton={url}/metrics"], upstream=("127.0.0.1", 1))
        metrics = {sample.metric for sample in source.collect()}
    assert names.REQUEST_DURATION not in metrics
    assert {names.QUEUE_DURATION, names.QUEUE_DEPTH, names.BATCH_SIZE} <= metrics


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scrapes": ["nothing=http://h/"]}, "--scrape: 'nothing' is not a known server"),
        (
            {"scrapes": ["triton", "triton=http://h/m"]},
            "--scrape: .* reads a second triton: run two sidecars",
        ),
        ({"processes": ["gunicorn"]}, "--process: 'gunicorn' does not name a process"),
        ({"processes": ["cgroup", "port=80"]}, "--process: a cgroup stands alone"),
        ({"gpu": "all"}, "--gpu: 'all' names no GPU"),
    ],
)
def test_a_mistake_names_the_option(options, says):
    with pytest.raises(ValueError, match=says):
        build_sources(**options)
