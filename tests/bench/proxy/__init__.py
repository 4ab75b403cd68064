"""The sidecar beside HAProxy and nginx, on the same machine in the same rounds: `python -m tests.bench.proxy`."""
