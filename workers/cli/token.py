"""``realtime token``: a JSON Web Token to try things with."""

import time
from typing import Annotated, Any

import typer

from realtime.identity.claims import parse_claims
from realtime.identity.jwt import mint
from workers.cli.context import load_settings, signing_secret
from workers.cli.output import show


def token(
    *,
    sub: Annotated[str, typer.Option(help="The user's ID.")],
    team: Annotated[list[str] | None, typer.Option(help="A team, as ID or ID/role; may be repeated.")] = None,
    label: Annotated[list[str] | None, typer.Option(help="A label; may be repeated.")] = None,
    verified: Annotated[
        bool, typer.Option("--verified", help="The user's email address is verified.")
    ] = False,
    name: Annotated[str, typer.Option(help="The user's name.")] = "",
    ttl: Annotated[int, typer.Option(min=1, help="Seconds until it expires.")] = 3600,
    project: Annotated[
        str | None, typer.Option(help="The only project it is good for; any when left out.")
    ] = None,
) -> None:
    """Print a token that carries its own identity, signed by REALTIME_SECRET or the development secret."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "sub": sub,
        "teams": team or [],
        "labels": label or [],
        "verified": verified,
        "iat": now,
        "exp": now + ttl,
    }
    if name:
        claims["name"] = name
    if project:
        claims["project"] = project
    settings = load_settings()
    parse_claims(claims, project or settings.dev_project)  # raises for what every hub would refuse
    show(mint(claims, signing_secret(settings)))
