"""``realtime tail``: live events in the terminal."""

import asyncio
from typing import Annotated

import msgspec
import typer
from rich.text import Text

from realtime.client import Event, Gap, RealtimeClient, Subscription
from workers.cli.context import development_key, load_settings, local_endpoint
from workers.cli.output import CommandError, note, show
from workers.dev.demo import FAMILY_CHANNELS


def tail(
    *,
    channels: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CHANNEL]...", help="What to subscribe to; every event when left out."),
    ] = None,
    query: Annotated[
        list[str] | None, typer.Option(help="A filter on the payload, as JSON; may be repeated.")
    ] = None,
    project: Annotated[
        str | None, typer.Option(help="The project's ID; REALTIME_DEV_PROJECT when left out.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="An API key; the development key when left out.")] = None,
    jwt: Annotated[str | None, typer.Option(help="Subscribe as the person of this token.")] = None,
    session: Annotated[str | None, typer.Option(help="Subscribe as the person of this session.")] = None,
    guest: Annotated[bool, typer.Option("--guest", help="Subscribe as nobody in particular.")] = False,
    endpoint: Annotated[
        str | None, typer.Option(help="The API endpoint, such as http://localhost:8080/v1.")
    ] = None,
    since: Annotated[
        str, typer.Option(metavar="ID", help="Begin with what came after this event, as far as it is kept.")
    ] = "",
    count: Annotated[int, typer.Option(min=0, help="End after so many events; 0 goes on until Ctrl+C.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
) -> None:
    """Print events as they arrive, under an API key or as a person."""
    settings = load_settings()
    if sum(map(bool, (key, jwt, session, guest))) > 1:
        raise CommandError("Give at most one of --key, --jwt, --session and --guest.")
    if not (key or jwt or session or guest):
        key = development_key(settings)
    client = RealtimeClient(
        endpoint or local_endpoint(settings),
        project or settings.dev_project,
        key=key,
        jwt=jwt,
        session=session,
    )
    try:
        events = client.subscribe(channels or FAMILY_CHANNELS, query or [], since=since, on_gap=_note_gap)
    except ValueError as error:
        raise CommandError(f"--since {since!r} is not the ID of an event. {error}") from error
    asyncio.run(_follow(client, events, count=count, as_json=as_json))


async def _follow(client: RealtimeClient, events: Subscription, *, count: int, as_json: bool) -> None:
    async with client, events:
        # Said once the hub has confirmed: what is published from now on arrives.
        note(f"Subscribed to {', '.join(events.requested_channels)}. Ctrl+C ends it.")
        received = 0
        async for event in events:
            show(render_json(event) if as_json else render(event))
            received += 1
            if received == count:
                return


def _note_gap(gap: Gap) -> None:
    note(f"Events may be missing here ({gap.reason.value}).")


def render(event: Event) -> Text:
    """Return the line for ``event``: time of day, name, payload."""
    time_of_day = event.timestamp.partition("T")[2].partition("+")[0]
    payload = msgspec.json.encode(event.payload).decode()
    return Text.assemble((time_of_day, "dim"), "  ", (event.events[0], "bold cyan"), "  ", payload)


def render_json(event: Event) -> str:
    """Return ``event`` as one line of JSON, with the members of the wire's ``data``."""
    return msgspec.json.encode(event).decode()
