"""A module that says it is pure is held to that: to do no I/O, and to full branch coverage by unit tests alone."""

import ast
import fnmatch
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CONFIGURATION: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]


def says_pure(path: Path) -> bool:
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return re.search(r"\bPure[.:]", docstring) is not None


PURE = [path.relative_to(ROOT) for path in sorted((ROOT / "realtime").rglob("*.py")) if says_pure(path)]
(CONTRACT,) = (
    contract
    for contract in CONFIGURATION["importlinter"]["contracts"]
    if contract["name"] == "The pure core does no I/O"
)


@pytest.mark.parametrize("path", PURE, ids=str)
def test_pure_module_is_held_to_it(path: Path) -> None:
    module = ".".join(path.with_suffix("").parts)
    assert any(fnmatch.fnmatch(str(path), each) for each in CONFIGURATION["coverage"]["run"]["include"])
    assert any(f"{module}.".startswith(f"{source}.") for source in CONTRACT["source_modules"])
