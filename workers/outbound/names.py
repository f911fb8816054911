"""What is remembered of names that were looked up: where they led, and whose name servers keep one waiting. Pure."""

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Literal, NamedTuple, TypeVar

FRESH_S = 30.0
"""For how long the addresses of a name are used again without asking."""

PROVEN_S = 3_600.0
"""For how long a name that was resolved promptly counts as one that will be again."""

PROMPT_S = 2.0
"""How long that takes at most."""

SUSPECT_S = 600.0
"""For how long a domain is remembered whose name servers did not answer promptly."""

_MAX_NAMES = 16_384
_MAX_DOMAINS = 4_096

# Registries give out names below these in many countries, such as `example.co.uk`.
_SECOND_LEVEL = re.compile("(?:ac|co|com|edu|gob|gov|gv|ltd|me|mil|ne|net|nom|or|org|plc|sch)")

V = TypeVar("V")

Kind = Literal["proven", "new", "suspect"]
"""What to expect of a name: a prompt answer, anything, or a long wait."""

Addresses = Sequence[IPv4Address | IPv6Address]


class _Known(NamedTuple):
    addresses: Addresses
    found_at: float
    prompt: bool


def domain_of(host: str) -> str:
    """Return the domain that ``host`` belongs to, as a registry gives it out: whose name servers are asked for it.

    It is guessed without the list of public suffixes, whose private part changes by the day: at worst, two domains
    share what one may take.
    """
    labels = host.lower().rstrip(".").split(".")
    is_below = len(labels) > 2 and len(labels[-1]) == 2 and _SECOND_LEVEL.fullmatch(labels[-2])
    return ".".join(labels[-3 if is_below else -2 :])


class Names:
    """The names that were looked up lately, a bounded number of them. For one thread at a time.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._suspect_until: OrderedDict[str, float] = OrderedDict()

    def addresses(self, host: str) -> Addresses | None:
        """Return the addresses that ``host`` had a moment ago; None if it has to be asked for."""
        known = self._known.get(host)
        return known.addresses if known is not None and self._age_s(known) < FRESH_S else None

    def kind(self, host: str) -> Kind:
        """Tell what to expect of ``host``."""
        if self._is_proven(host):
            return "proven"
        return "suspect" if self._suspect_until.get(domain_of(host), 0.0) > self._clock() else "new"

    def note(self, host: str, addresses: Addresses, took_s: float) -> None:
        """Remember what came of looking ``host`` up.

        Args:
            host: the name.
            addresses: what it led to; empty if it could not be resolved.
            took_s: how long that took. A name that was proven may take long once, and loses no more than that.
        """
        is_prompt = took_s < PROMPT_S
        if not is_prompt and not self._is_proven(host):
            _put(self._suspect_until, domain_of(host), self._clock() + SUSPECT_S, _MAX_DOMAINS)
        if addresses:
            _put(self._known, host, _Known(addresses, self._clock(), is_prompt), _MAX_NAMES)
        else:
            self._known.pop(host, None)

    def _is_proven(self, host: str) -> bool:
        known = self._known.get(host)
        return known is not None and known.prompt and self._age_s(known) < PROVEN_S

    def _age_s(self, known: _Known) -> float:
        return self._clock() - known.found_at


def _put(into: OrderedDict[str, V], key: str, value: V, most: int) -> None:
    """Put what is newest last, and forget what is oldest."""
    into[key] = value
    into.move_to_end(key)
    if len(into) > most:
        into.popitem(last=False)
