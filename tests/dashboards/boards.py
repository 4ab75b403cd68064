"""The committed dashboards as tests read them."""

from __future__ import annotations

import json
from typing import Any

from dashboards.__main__ import DASHBOARDS, FOLDER

FILES = sorted(DASHBOARDS)


def dashboard(name: str) -> dict[str, Any]:
    return json.loads((FOLDER / name).read_text())


def elements(name: str) -> list[dict[str, Any]]:
    """Rows and panels in their order, those of folded rows too."""
    return [
        element
        for top in dashboard(name)["panels"]
        for element in (top, *(top.get("panels", ()) if top["type"] == "row" else ()))
    ]


def panels(name: str) -> list[dict[str, Any]]:
    return [element for element in elements(name) if element["type"] != "row"]
