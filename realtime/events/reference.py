"""The reference of events, printed from the catalogue so that it cannot differ from what the code does.

``python -m realtime.events.reference > docs/reference/events.md`` writes it anew; a test fails while the file
is out of date. The module is pure but for writing to standard output when it is run.
"""

import sys
from collections.abc import Iterator

from realtime.events.catalogue import (
    ACTIONS,
    PAYLOAD_READERS,
    PROJECT_TEAM,
    VOCABULARY,
    Delivery,
    Resource,
    channel_templates,
    narrow,
    walk,
)

_HEAD = """\
# Events

<!-- Written by `python -m realtime.events.reference`. Change realtime/events/catalogue.py, not this page. -->

Everything that can happen, with the channels on which clients hear of it and the roles that may read it.
Placeholders in brackets stand for IDs: `teams.[teamId].create` is published as `teams.red.create`.

**Names.** An event is published under all its names: with `*` for each of its IDs, and without its last
parts. `teams.red.create` is also `teams.*.create`, `teams.red` and `teams.*`. Webhooks and functions
subscribe to any of them; clients find the whole list in `events`. The first name has every ID, and no `*`;
for an attribute of a user or a team (`users.[userId].update.name`) it is the name without the attribute, and
the one with it comes later. So look for names in the whole list.

**IDs** have 1 to 255 characters out of `A-Z a-z 0-9 . _ - | @ +` and begin with a letter or a digit. Names
are split at dots, so an event on a resource whose ID has a dot is published as a pattern with parameters.

**Channels.** Where it says "and each action", a channel also exists for `create`, `update`, `upsert` and
`delete` alone, such as `teams.red.update`. In subscriptions, `*` may stand for an ID: `teams.*.update`.
Accounts are the exception: a client subscribes to `account` and hears of its own user.

**Readers.** A client receives an event if it subscribes to one of its channels and holds one of the roles
that may read it. A publisher may name the roles or give permissions; otherwise the readers are those below.
"""

_READERS = {
    PAYLOAD_READERS: "the roles in the `read(...)` permissions of the resource",
    PROJECT_TEAM: "the console team that owns the project",
}
_TARGETS = {
    "project": "the project",
    "console": "the console (the project's own log has it for webhooks, functions and API keys)",
}


def render() -> str:
    """Return the page as Markdown."""
    lines = [_HEAD]
    for path in walk():
        lines += _resource(path)
    lines += ["## Two vocabularies", "", *_vocabulary()]
    lines += ["## All channels", "", *_channels()]
    return "\n".join(lines)


def _resource(path: tuple[Resource, ...]) -> Iterator[str]:
    prefix = ".".join(f"{resource.word}.[{resource.param}]" for resource in path)
    if len(path) == 1:
        yield from (f"## {path[0].word}", "")
    yield from (f"### `{prefix}`", "")
    yield f"- Events: {', '.join(f'`{action}`' for action in _actions(path[-1]))}"
    yield from _delivery(path[-1].delivery)
    yield ""


def _actions(resource: Resource) -> Iterator[str]:
    for action, attributes in resource.actions.items():
        # An action that the grammar reads out of a longer name, `sessions.delete`, is no event by itself.
        if action in ACTIONS or not attributes:
            yield f".{action}"
        yield from (f".{action}.{attribute}" for attribute in attributes)


def _delivery(delivery: Delivery) -> Iterator[str]:
    if not delivery.channels:
        yield "- Channels: none; for webhooks and functions only"
        return
    yield f"- Channels: {', '.join(_channel(channel, delivery) for channel in delivery.channels)}"
    yield f"- Readers: {_READERS.get(delivery.readers, f'`{delivery.readers}`')}"
    target = _TARGETS[delivery.target]
    if delivery.both_on:
        target += f"; on {_listed(delivery.both_on)} the console too"
    yield f"- Published in: {target}"
    if delivery.refreshes_on:
        yield f"- Changes the roles of its user: on {_listed(delivery.refreshes_on)}"


def _channel(channel: str, delivery: Delivery) -> str:
    narrowed = delivery.narrowed and narrow((channel,), ACTIONS[0])
    return f"`{channel}` (and each action)" if narrowed else f"`{channel}`"


def _listed(actions: frozenset[str]) -> str:
    return ", ".join(f"`{action}`" for action in ACTIONS if action in actions)


def _vocabulary() -> Iterator[str]:
    yield "The databases API and the tables API call the same things by different words. Events and channels"
    yield "of tables are published in the words of both, whichever of them made the change:"
    yield ""
    yield "| databases API | tables API |"
    yield "| --- | --- |"
    yield from (f"| `{word.collections}` | `{word.tables}` |" for word in VOCABULARY)
    yield ""
    yield "Databases of the types `documentsdb` and `vectorsdb` are apart: their names and channels begin"
    yield "with their own word, and are not repeated in another."
    yield ""


def _channels() -> Iterator[str]:
    suffixes = {suffix for channel in channel_templates() for suffix in _suffixed(channel)}
    yield from (f"- `{channel}`" for channel in channel_templates() if channel not in suffixes)
    yield ""


def _suffixed(channel: str) -> Iterator[str]:
    yield from (f"{channel}.{action}" for action in ACTIONS)


def main() -> None:
    """Write the page to standard output."""
    sys.stdout.write(render())


if __name__ == "__main__":
    main()
