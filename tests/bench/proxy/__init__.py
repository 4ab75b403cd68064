"""The sidecar beside HAProxy and nginx, in the same rounds: `python -m tests.bench.proxy`."""
