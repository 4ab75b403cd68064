"""What is imported is declared, and what is declared is imported: a release that drops a library of another's
would take ours away, and an unused one is weight in every image."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OURS = {"advisor", "exporters", "dashboards"}
#: SQLAlchemy loads the driver that the store's address names.
BY_NAME = {"psycopg"}
#: What each package may import, by the extra that brings it: the sidecar is the base install.
EXTRAS = {
    "exporters": [],
    "advisor": ["advisor", "postgres", "kubernetes", "dashboards", "demo"],
    "dashboards": ["dashboards"],
}


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(extras: list[str]) -> set[str]:
    optional = PROJECT["optional-dependencies"]
    lines = [*PROJECT["dependencies"], *(line for extra in extras for line in optional[extra])]
    return {canonical(re.split(r"[\[<>=]", line, maxsplit=1)[0]) for line in lines} - {PROJECT["name"]}


def imported(package: str) -> set[str]:
    modules: set[str] = set()
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.split(".")[0])
    distributions = packages_distributions()
    foreign = modules - OURS - set(sys.stdlib_module_names)
    return {canonical(distributions.get(module, [module])[0]) for module in foreign}


@pytest.mark.parametrize("package", sorted(EXTRAS))
def test_what_is_imported_is_declared(package):
    assert imported(package) <= declared(EXTRAS[package])


def test_what_is_declared_is_imported():
    used = set().union(*map(imported, EXTRAS))
    assert declared(EXTRAS["advisor"]) - BY_NAME <= used
