"""Which webhooks and functions wait for an event, found by its names. Pure."""

from collections.abc import Iterable
from typing import TypeVar

from realtime.triggers.model import FunctionTrigger, Triggers, Webhook

T = TypeVar("T", Webhook, FunctionTrigger)


class TriggerIndex:
    """The enabled triggers of a project, by the names they wait for. Its cost grows with an event's names only.

    Subscribed names are compared as they are: the names of an event have all their forms with ``*`` among them (wire
    specification 7.2, 11.2, 12.1).
    """

    def __init__(self, triggers: Triggers) -> None:
        self._webhooks = _by_name(triggers.webhooks)
        self._functions = _by_name(triggers.functions)

    def webhooks(self, events: Iterable[str]) -> list[Webhook]:
        """Return the webhooks that wait for an event of these names: each once, by ID."""
        return _found(self._webhooks, events)

    def functions(self, events: Iterable[str]) -> list[FunctionTrigger]:
        """Return the functions that wait for an event of these names: each once, by ID."""
        return _found(self._functions, events)


def _by_name(triggers: Iterable[T]) -> dict[str, list[T]]:
    by_name: dict[str, list[T]] = {}
    for trigger in triggers:
        if trigger.enabled:
            for name in trigger.events:
                by_name.setdefault(name, []).append(trigger)
    return by_name


def _found(by_name: dict[str, list[T]], events: Iterable[str]) -> list[T]:
    found = {trigger.id: trigger for name in events for trigger in by_name.get(name, ())}
    return [found[trigger_id] for trigger_id in sorted(found)]
