"""The reference page against the commands: each must be in it, with its options."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from workers.cli import app

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "cli.md").read_text("utf-8")


def commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


COMMANDS = dict(commands(typer.main.get_command(app), "realtime"))


def section_of(name: str) -> str:
    sections = re.split(r"^(?=## )", PAGE, flags=re.MULTILINE)
    heading = re.compile(rf"^### .*`{name}[` ]", flags=re.MULTILINE)
    return next(section for section in sections if heading.search(section))


class TestReference:
    def test_there_are_commands(self) -> None:
        assert len(COMMANDS) >= 14

    @pytest.mark.parametrize("name", sorted(COMMANDS))
    def test_command_has_a_heading(self, name: str) -> None:
        assert re.search(rf"^### .*`{name}[` ]", PAGE, flags=re.MULTILINE)

    @pytest.mark.parametrize("name", sorted(COMMANDS))
    def test_every_option_is_described_with_its_command(self, name: str) -> None:
        options = [
            option for parameter in COMMANDS[name].params for option in parameter.opts if option[:2] == "--"
        ]
        assert [option for option in options if option != "--help" and option not in section_of(name)] == []

    def test_every_heading_is_a_command(self) -> None:
        headings = re.findall(r"^### (.+)$", PAGE, flags=re.MULTILINE)
        named = {
            name for heading in headings for name in re.findall(r"`(realtime [a-z]+(?: [a-z]+)?)", heading)
        }
        assert named == set(COMMANDS)

    @pytest.mark.parametrize("name", sorted(COMMANDS))
    def test_command_says_what_it_does(self, name: str) -> None:
        assert COMMANDS[name].help
