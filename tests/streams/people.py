"""Who the clients of the stream tests are: guests, people whom a token vouches for, and users with a session."""

import time
from typing import NamedTuple

from realtime.identity.jwt import mint
from realtime.identity.model import Membership, Session, User
from realtime.identity.secrets import encode_session, hash_secret
from tests.streams.hubs import SECRET


class Person(NamedTuple):
    """A client's identity, and the roles that the tests' events name of those it gives."""

    name: str
    roles: frozenset[str]
    jwt: str = ""
    session: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """What it shows when it connects."""
        shown = {"X-Appwrite-JWT": self.jwt, "X-Appwrite-Session": self.session}
        return {name: value for name, value in shown.items() if value}


GUEST = Person("guest", frozenset({"guests"}))


def bearer(name: str, *teams: str) -> Person:
    """Return somebody whom a token of its own makes a member of teams."""
    claims = {"sub": name, "teams": list(teams), "exp": int(time.time()) + 600}
    return Person(name, roles_of(name, *teams), jwt=mint(claims, SECRET))


def roles_of(name: str, *teams: str) -> frozenset[str]:
    """Return what a signed-in user in these teams may read, in the words of the tests' events."""
    return frozenset({"users", f"user:{name}", *(f"team:{team}" for team in teams)})


def user(name: str, *teams: str) -> User:
    """Return the record of a user with one session, in these teams."""
    session = Session(
        id=f"session-{name}",
        secret_hash=hash_secret(_secret(name)),
        provider="email",
        expires_at=time.time() + 3600,
    )
    memberships = tuple(Membership(id=f"{name}-{team}", team_id=team) for team in teams)
    return User(id=name, sessions=(session,), memberships=memberships)


def signed_in(name: str, *teams: str) -> Person:
    """Return whoever shows the session of :func:`user`."""
    return Person(name, roles_of(name, *teams), session=encode_session(name, _secret(name)))


def _secret(name: str) -> str:
    return f"secret-of-{name}"
