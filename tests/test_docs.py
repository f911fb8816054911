"""The documentation against the code: links, settings, commands, examples and messages must be as they are written."""

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from realtime.messages import parse_message
from realtime.settings import Settings
from workers.cli.app import app

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])

NOT_SETTINGS = {"REALTIME_PUBLIC_PORT"}
"""Variables of the deployment files, not of the program."""

CLIENT_MESSAGES = {"ping", "authentication", "subscribe", "unsubscribe", "presence"}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_CALL = re.compile(r"(?<![\w./-])(?:\.venv/bin/)?realtime ([a-z]+)(?: ([a-z]+))?")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of a page that are in one of ``languages``."""
    return [code for language, code in _FENCE.findall(page.read_text()) if language in languages]


def prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return the fragments that the headings of a page can be linked by, as GitHub makes them."""
    texts = [re.sub(r"[`*]", "", heading).strip().lower() for heading in _HEADING.findall(prose(page))]
    return {re.sub(r"[^\w\- ]", "", text).replace(" ", "-") for text in texts}


def commands() -> dict[str, set[str]]:
    """Return every command with its own commands; a command that is no group has none."""
    root = typer.main.get_command(app)
    groups: dict[str, Any] = vars(root)["commands"]
    return {name: set(getattr(command, "commands", ())) for name, command in groups.items()}


def calls(page: Path) -> Iterator[tuple[str, str]]:
    """Yield every call of the command line: command, and the word after it, if any."""
    shown = blocks(page, "sh", "console", "bash")
    shown += re.findall(r"`([^`\n]+)`", prose(page))
    for code in shown:
        yield from _CALL.findall(code)


def examples(language: str) -> list[Any]:
    return [
        pytest.param(code, id=f"{page_id(page)}-{number}")
        for page in PAGES
        for number, code in enumerate(blocks(page, language))
    ]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
class TestPage:
    """What holds for every page."""

    def test_relative_links_lead_somewhere(self, page: Path) -> None:
        broken = []
        for target in _LINK.findall(prose(page)):
            path, _, fragment = target.partition("#")
            if ":" in path:
                continue
            linked = (page.parent / path).resolve() if path else page
            if not linked.exists() or (fragment and fragment not in anchors(linked)):
                broken.append(target)
        assert broken == []

    def test_settings_exist(self, page: Path) -> None:
        named = set(re.findall(r"\bREALTIME_[A-Z_]+[A-Z]", page.read_text()))
        assert named - {info.variable for info in Settings.describe()} - NOT_SETTINGS == set()

    def test_commands_exist(self, page: Path) -> None:
        known = commands()
        unknown = [
            f"realtime {name} {word}"
            for name, word in calls(page)
            if name not in known or (known[name] and word and word not in known[name])
        ]
        assert unknown == []


class TestExamples:
    """What holds for the code in them."""

    @pytest.mark.parametrize("code", examples("python"))
    def test_python_compiles_and_imports_what_exists(self, code: str) -> None:
        tree = ast.parse(code)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("realtime"):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []

    @pytest.mark.parametrize("code", examples("json"))
    def test_each_line_of_json_parses_and_messages_are_accepted(self, code: str) -> None:
        for line in code.splitlines():
            message = json.loads(line)
            if message.get("type") in CLIENT_MESSAGES:
                parse_message(line)


def test_calls_are_found_as_they_are_written(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "Call `realtime dev`; a realtime hub is not one, nor is `import realtime`.\n"
        "```console\n$ .venv/bin/realtime keys create --scope x\n```\n"
    )
    assert list(calls(page)) == [("keys", "create"), ("dev", "")]
