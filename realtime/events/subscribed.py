"""What webhooks and functions may be set off by: lists of event names with ``*`` for IDs. Pure.

Source: wire specification 7.4.
"""

from collections.abc import Iterable

from realtime.errors import InvalidEventError
from realtime.events.names import validate_subscription

MAX_NAMES = 100
"""How many names one webhook or function may have."""

_SHOWN_CHARACTERS = 100


def validate_subscribed(names: Iterable[str], *, for_function: bool = False) -> tuple[str, ...]:
    """Return ``names`` in their order, each once, if a webhook or function may be set off by all of them.

    Args:
        names: such as ``users.*.create`` or ``databases.main.tables.*.rows.*``.
        for_function: whether it is a function; functions are not set off by what happens to functions, or one could
            run itself for ever.

    Raises:
        InvalidEventError: a name is of nothing in the catalogue, is not for functions, or there are more than
            :data:`MAX_NAMES`.
    """
    validated = tuple(dict.fromkeys(map(_validate, names)))
    if len(validated) > MAX_NAMES:
        raise InvalidEventError(f"At most {MAX_NAMES} events are allowed.")
    if for_function and any(name.partition(".")[0] == "functions" for name in validated):
        raise InvalidEventError("Triggering a function on a function event is not allowed.")
    return validated


def _validate(name: str) -> str:
    try:
        return validate_subscription(name)
    except InvalidEventError as error:
        # Of many names, which one it is.
        raise InvalidEventError(f"{error} ({name[:_SHOWN_CHARACTERS]})") from error
