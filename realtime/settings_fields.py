"""How settings are declared: what numbers and lists have in common."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_settings import NoDecode


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Texts, separated by commas in the environment."""

Numbers = Annotated[tuple[float, ...], NoDecode, BeforeValidator(_split)]
"""Numbers, separated by commas in the environment."""


def number(default: float, unit: str, description: str, **constraints: Any) -> Any:
    """Declare a setting that counts something; ``unit`` says what."""
    bounds = {"ge": 0, **constraints}
    return Field(default, description=description, json_schema_extra={"unit": unit}, **bounds)
