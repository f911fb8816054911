"""``realtime vars``: every setting with its value and where the value comes from."""

import difflib
import json
import os
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import typer
from rich.text import Text

from realtime.settings import ENV_PREFIX, Settings
from workers.cli.context import load_settings, without_password
from workers.cli.output import show

SECRETS = frozenset({"dev_key", "root_key", "secret"})
"""Settings whose values are never printed."""


class Variable(NamedTuple):
    """One setting."""

    name: str
    """The environment variable."""
    value: str
    """As it would be written in the environment; secrets as stars."""
    source: str
    """``env``, ``default``, or ``limits`` for what ``REALTIME_LIMITS=off`` has lifted."""


class UnknownVariable(NamedTuple):
    """A variable that is named like a setting and is none, so that it does nothing."""

    name: str
    """As it is written in the environment."""
    nearest: str
    """The variable that was probably meant; empty when none is like it."""

    @property
    def advice(self) -> str:
        """What to do about it."""
        return f"is {self.nearest} meant?" if self.nearest else "`realtime vars` lists all settings"


def vars_(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List every setting: environment variable, value, source. Secrets are masked."""
    variables = list(list_variables(load_settings(), os.environ))
    unknown = find_unknown(os.environ)
    if as_json:
        listed = {name: {"value": value, "source": source} for name, value, source in variables}
        # Without their values, which may be those of misspelt secrets.
        listed |= {name: {"source": "unknown", "nearest": nearest} for name, nearest in unknown}
        show(json.dumps(listed))
        return
    width = max(len(name) for name, *_ in (*variables, *unknown))
    for name, value, source in variables:
        style = "bold green" if source == "env" else "dim"
        show(Text(name.ljust(width), "bold"), "  ", Text(source.ljust(7), style), f"  {value}")
    for variable in unknown:
        show(
            Text(variable.name.ljust(width), "bold"), "  ", Text("unknown", "yellow"), f"  {variable.advice}"
        )


def list_variables(settings: Settings, environment: Iterable[str]) -> Iterator[Variable]:
    """Yield every setting, in the order in which they are declared.

    ``environment`` are the names of the variables that are set, in any case, as the settings accept them.
    """
    given = {name.upper() for name in environment}
    # Set by the settings themselves, since no option of this command sets any.
    lifted = settings.model_fields_set if settings.limits == "off" else frozenset()
    for info in Settings.describe():
        source = "env" if info.variable in given else "default"
        if source == "default" and info.name in lifted:
            source = "limits"
        yield Variable(info.variable, mask(info.name, format_value(getattr(settings, info.name))), source)


def find_unknown(environment: Iterable[str]) -> list[UnknownVariable]:
    """Return the variables that are named like settings and are none, by name.

    ``environment`` are the names of the variables that are set, in any case, as the settings accept them.
    """
    known = [info.variable for info in Settings.describe()]
    unknown = sorted(
        name for name in environment if name.upper().startswith(ENV_PREFIX) and name.upper() not in known
    )
    return [UnknownVariable(name, _nearest(name.upper(), known)) for name in unknown]


def _nearest(name: str, known: list[str]) -> str:
    # Compared without the prefix, which would make every name like every other.
    names = [variable.removeprefix(ENV_PREFIX) for variable in known]
    near = difflib.get_close_matches(name.removeprefix(ENV_PREFIX), names, n=1)
    return ENV_PREFIX + near[0] if near else ""


def format_value(value: object) -> str:
    """Return a setting's value as one writes it in the environment."""
    if isinstance(value, tuple):
        return ",".join(format_value(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def mask(name: str, value: str) -> str:
    """Return ``value`` without what is secret in it; an empty value stays empty, to show that it is unset."""
    if name in SECRETS:
        return "***" if value else ""
    return without_password(value) if name.endswith("_url") else value
