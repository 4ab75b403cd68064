"""The load generator: a process of its own, because Locust patches the interpreter."""
