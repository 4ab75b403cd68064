"""`python -m dashboards` writes every dashboard to dashboards/json/."""

from __future__ import annotations

from pathlib import Path

from dashboards import demand, loadtests, model, overview, server
from dashboards.common import to_json

FOLDER = Path(__file__).parent / "json"
DASHBOARDS = {
    "overview.json": overview.build,
    "server.json": server.build,
    "model.json": model.build,
    "load-tests.json": loadtests.build,
    "demand.json": demand.build,
}


def main() -> None:
    """Write the files; they are committed, so that no one needs Python to use them."""
    FOLDER.mkdir(exist_ok=True)
    for name, build in DASHBOARDS.items():
        (FOLDER / name).write_text(to_json(build()), encoding="utf-8")
        print(f"dashboards/json/{name}")  # noqa: T201 - the command's answer


if __name__ == "__main__":
    main()
