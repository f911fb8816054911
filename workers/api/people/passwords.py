"""Passwords: hashing and checking them off the event loop, and the rules that a project sets for new ones.

Hashing takes tens of milliseconds of one core, so it is done by a few threads, and no more may wait than those can
serve in good time: a flood of logins is refused, and holds up nothing else. Never hash inside of a transaction.
"""

import asyncio
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from workers.api.people import hashes
from workers.api.problems import Problem, refuse
from workers.models.people import Row

P = ParamSpec("P")
T = TypeVar("T")

MAX_WAITING = 256
"""How many hashes may be asked for at once; a few seconds of work."""


class HashingPool:
    """A few threads that hash, and a bound on what waits for them. For one event loop."""

    def __init__(self, *, threads: int, max_waiting: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="realtime-hashing")
        self._max_waiting = max_waiting
        self._waiting = 0

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what ``function`` returns, called in a thread.

        Raises:
            ApiError: 503, when too many wait.
        """
        if self._waiting >= self._max_waiting:
            raise refuse(Problem.BUSY)
        self._waiting += 1
        try:
            call = functools.partial(function, *args, **kwargs)
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        finally:
            self._waiting -= 1


# One for the process, since it shares out what the process has: cores.
_POOL = HashingPool(threads=max(1, min(4, (os.cpu_count() or 1) - 1)), max_waiting=MAX_WAITING)


async def hash_password(password: str) -> str:
    """Return the form in which a new password is stored: argon2id, with its parameters and salt.

    Raises:
        ApiError: 503, when too many wait to have theirs hashed.
    """
    return await _POOL.run(hashes.ARGON2.hash, password)


async def verify_password(password: str, row: Row | None) -> bool:
    """Tell whether ``password`` is that of the row of ``users``.

    No row, or a user without a password, takes as long as a wrong password, and is False.

    Raises:
        ApiError: 503, when too many wait to have theirs checked.
    """
    return await _POOL.run(_verify, password, row)


def needs_rehash(row: Row) -> bool:
    """Tell whether the password of a row of ``users`` is stored in a form that another system made.

    Whoever has just verified the password then hashes it, and writes it by :func:`workers.api.people.users.rehash`.
    """
    return hashes.needs_rehash(row["password_algorithm"], row["password_hash"])


async def check_password_rules(
    password: str, policies: Mapping[str, Any], *, row: Row | None = None, personal: Sequence[str] = ()
) -> None:
    """Check a new password against the policies of the project.

    Args:
        password: has the right length already (:data:`workers.api.people.fields.Password`).
        policies: those of the project, as stored: ``total`` of ``password-history`` is how many passwords of a person,
            with the current one, must not be used again; ``enabled`` of ``password-personal-data`` says whether a
            password must not hold the person's name or address.
        row: the user's, if there is one.
        personal: name, e-mail address and phone number of a user who has no row yet.

    Raises:
        ApiError: 400 ``password_recently_used`` or ``password_personal_data``.
    """
    if policies.get("password-personal-data", {}).get("enabled", False):
        _check_personal_data(password, personal if row is None else (row["name"], row["email"], row["phone"]))
    remembered = _remembered(policies)
    if row is None or not remembered or row["password_hash"] is None:
        return
    if await verify_password(password, row):
        raise refuse(Problem.USER_PASSWORD_REUSED)
    for earlier in row["password_history"][1 - remembered :] if remembered > 1 else ():
        if await _POOL.run(hashes.verify, password, hashes.OWN, earlier, {}):
            raise refuse(Problem.USER_PASSWORD_REUSED)


def password_changes(
    row: Row, password_hash: str | None, policies: Mapping[str, Any], now_text: str
) -> dict[str, Any]:
    """Return the columns of ``users`` that a new password changes.

    Args:
        row: the user's, before.
        password_hash: of :func:`hash_password`; None takes the password away.
        policies: those of the project, as stored.
        now_text: when it changes.
    """
    remembered = _remembered(policies)
    earlier = list(row["password_history"])
    if row["password_hash"] is not None and row["password_algorithm"] == hashes.OWN:
        earlier.append(row["password_hash"])
    return {
        **stored(password_hash),
        "password_updated_at": now_text,
        "password_history": earlier[-remembered:] if remembered else [],
    }


def stored(
    password_hash: str | None, algorithm: str = hashes.OWN, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the columns of ``users`` that hold a password; ``options`` None for those of our own hashes."""
    return {
        "password_hash": password_hash,
        "password_algorithm": algorithm,
        "password_options": dict(hashes.ARGON2_OPTIONS if options is None else options),
    }


def _remembered(policies: Mapping[str, Any]) -> int:
    total: int | None = policies.get("password-history", {}).get("total")
    return total or 0


def _verify(password: str, row: Row | None) -> bool:
    if row is None or row["password_hash"] is None:
        hashes.verify(password, hashes.OWN, _nobodys_hash(), {})
        return False
    matches = hashes.verify(
        password, row["password_algorithm"], row["password_hash"], row["password_options"]
    )
    if not matches and row["password_algorithm"] != hashes.OWN:
        # Quicker forms would tell by their time that the user exists.
        hashes.verify(password, hashes.OWN, _nobodys_hash(), {})
    return matches


@functools.cache
def _nobodys_hash() -> str:
    return hashes.ARGON2.hash(os.urandom(16))


def _check_personal_data(password: str, personal: Sequence[str | None]) -> None:
    folded = password.casefold()
    for text in personal:
        # An address stands for its local part, too; a name of a letter or two is in any password.
        for part in (text or "", (text or "").partition("@")[0]):
            if len(part) > 2 and part.casefold().removeprefix("+") in folded:
                raise refuse(Problem.USER_PASSWORD_PERSONAL)
