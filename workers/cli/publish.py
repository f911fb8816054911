"""``realtime publish``: publish one event through the HTTP API."""

import json
import sys
import uuid
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer
from rich.text import Text

from workers.cli.context import development_key, load_settings, local_endpoint
from workers.cli.output import CommandError, show
from workers.dev.routes import is_loopback

TIMEOUT_S = 15.0


def publish(
    *,
    name: Annotated[
        str,
        typer.Argument(
            help=r"A concrete event name, or a pattern such as 'users.\[userId].create' with --param."
        ),
    ],
    payload: Annotated[
        str, typer.Argument(help="The resource as a JSON object; '-' reads standard input.")
    ] = "{}",
    permission: Annotated[
        list[str] | None, typer.Option(help="Such as 'read(\"team:editors\")'; may be repeated.")
    ] = None,
    role: Annotated[
        list[str] | None,
        typer.Option(help="A role that may read it, such as any or user:ada; may be repeated."),
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, for a pattern; may be repeated.")
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="The ID of the user it is about; not of who did it.")
    ] = None,
    database_type: Annotated[
        str | None, typer.Option(help="legacy, tablesdb, documentsdb or vectorsdb.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="The project's ID; REALTIME_DEV_PROJECT when left out.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="An API key; the development key when left out.")] = None,
    endpoint: Annotated[
        str | None, typer.Option(help="The API endpoint, such as http://localhost:8080/v1.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the API's answer.")] = False,
) -> None:
    """Publish one event, and print its ID, channels and readers."""
    settings = load_settings()
    event: dict[str, Any] = {
        "event": name,
        "payload": parse_payload(sys.stdin.read() if payload == "-" else payload),
        "params": parse_params(param) if param else None,
        "permissions": permission,
        "roles": role,
        "userId": user,
        "databaseType": database_type,
    }
    answer = post_event(
        endpoint or local_endpoint(settings),
        project or settings.dev_project,
        key or development_key(settings),
        {member: value for member, value in event.items() if value is not None},
    )
    if as_json:
        show(json.dumps(answer))
        return
    for published in answer["events"]:
        show_published(choose_name(name, event["params"] or {}, published["events"]), published)


def show_published(name: str, published: Mapping[str, Any]) -> None:
    """Print one event of the API's answer, by the one of its names that is to stand for it."""
    show(Text("published ", "green"), f"{name}  id {published['id']}")
    if not published["channels"]:
        show("  channels  none: no client can subscribe to it; it is for webhooks and functions")
        return
    show("  channels  ", summarize(published["channels"]))
    show("  readers   ", ", ".join(published["roles"]) or "none but API keys: give --role or --permission")


def choose_name(name: str, params: Mapping[str, str], events: Sequence[str]) -> str:
    """Return the one of ``events`` that ``name`` asked for, its placeholders filled with ``params``.

    It need not be the first: that lacks the attribute in updates of a user. When it is none of them, as in the
    words of another database type, the first stands for it.
    """
    for param, value in params.items():
        name = name.replace(f"[{param}]", value)
    return name if name in events else events[0]


def summarize(names: list[str], at_most: int = 4) -> str:
    """Return ``names`` as a text, the first few if there are many."""
    more = f" and {len(names) - at_most} more (--json)" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + more


def parse_payload(text: str) -> dict[str, Any]:
    """Return the JSON object in ``text``; CommandError when it is none."""
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise CommandError(f"The payload is not JSON: {error}.") from error
    if not isinstance(payload, dict):
        raise CommandError("The payload must be a JSON object.")
    return payload


def parse_params(texts: list[str]) -> dict[str, str]:
    """Return the mapping that texts of the form ``NAME=VALUE`` add up to; CommandError for another form."""
    params = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise CommandError(f"--param {text!r} is not of the form NAME=VALUE.")
        params[name] = value
    return params


def post_event(endpoint: str, project: str, key: str, event: dict[str, Any]) -> dict[str, Any]:
    """Publish ``event`` through ``POST /v1/events`` and return the answer.

    Raises:
        CommandError: nobody answers at ``endpoint``, or the API refused the event; with its reason.
    """
    url = endpoint.rstrip("/") + "/events"
    headers = {"X-Appwrite-Project": project, "X-Appwrite-Key": key, "Idempotency-Key": uuid.uuid4().hex}
    try:
        # A proxy of the environment is for other machines; few people exempt this one from it.
        is_remote = not is_loopback(urlsplit(url).hostname or "")
        response = httpx.post(url, json=event, headers=headers, timeout=TIMEOUT_S, trust_env=is_remote)
    except httpx.TransportError as error:
        raise CommandError(
            f"No server answers at {url}: {error}. Start `realtime dev`, or give --endpoint."
        ) from error
    try:
        body = response.json()
    except ValueError:
        body = {}
    if response.status_code != HTTPStatus.ACCEPTED or "events" not in body:
        reason = (
            body.get("message", response.reason_phrase) if isinstance(body, dict) else response.reason_phrase
        )
        raise CommandError(f"Not published: {reason} (HTTP {response.status_code})")
    answer: dict[str, Any] = body
    return answer
