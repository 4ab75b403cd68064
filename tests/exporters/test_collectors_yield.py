"""A source that gives way: what a proxy without admission says of queueing, beside a server that knows."""

from __future__ import annotations

from exporters import names
from exporters.collectors import Collectors
from exporters.samples import Sample, SourceDown

QUEUEING = frozenset({names.QUEUE_DEPTH, names.QUEUE_DEPTH_SECONDS})


class Fixed:
    def __init__(self, name, *samples):
        self.name = name
        self.samples = samples
        self.down = False

    def collect(self):
        if self.down:
            raise SourceDown("gone")
        return self.samples


def values(collectors):
    return {
        (sample.metric.name, *sample.labels): sample.value
        for sample in collectors.read()
        if not sample.metric.name.startswith("inference_exporter_")
    }


PROXY = (
    Sample(names.QUEUE_DEPTH, ("default",), 0),
    Sample(names.QUEUE_DEPTH_SECONDS, ("default",), 0),
    Sample(names.IN_FLIGHT, ("default",), 3),
)


def test_alone_it_tells_what_it_has():
    collectors = Collectors([Fixed("proxy", *PROXY)], {"proxy": QUEUEING})
    assert values(collectors) == {
        ("inference_queue_depth", "default"): 0,
        ("inference_queue_depth_seconds_total", "default"): 0,
        ("inference_requests_in_flight", "default"): 3,
    }


def test_beside_one_that_knows_all_of_it_goes_even_under_another_model():
    """An integral of zero beside a depth of 46 would be a lie."""
    server = Fixed("scrape:vllm", Sample(names.QUEUE_DEPTH, ("llama",), 46))
    collectors = Collectors([Fixed("proxy", *PROXY), server], {"proxy": QUEUEING})
    expected = {("inference_queue_depth", "llama"): 46, ("inference_requests_in_flight", "default"): 3}
    assert values(collectors) == expected
    server.down = True
    assert values(collectors) == {("inference_requests_in_flight", "default"): 3}, "absent, not zero"
    server.down = False
    assert values(collectors) == expected
