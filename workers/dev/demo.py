"""The demo project: its record, its API key, and the two people that the page shows side by side.

The people exist only in the tokens made for them here, signed by the server's own secret; nothing about them
is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from realtime.identity.claims import parse_claims
from realtime.identity.jwt import mint
from realtime.identity.model import Platform, Project, User
from realtime.identity.secrets import verify_secret
from realtime.identity.store import IdentityStore
from realtime.settings import Settings
from workers.store.projects import create_key, create_project, delete_key, find_project
from workers.store.store import Store, Transaction
from workers.store.tables import keys

KEY_ID = "dev"
TOKEN_TTL_S = 24 * 3600
"""How long the page's tokens are valid; the page fetches new ones before that."""

FAMILY_CHANNELS = (
    "rows",
    "documents",
    "files",
    "executions",
    "account",
    "teams",
    "memberships",
    "presences",
    "reports",
)
"""Channels that together carry every event a project's clients can be sent (wire specification 5.4)."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody on the page."""

    user_id: str
    name: str
    teams: tuple[str, ...] = ()

    def claims(self, project_id: str, now: float) -> dict[str, Any]:
        """Return the claims of a token for this person; ``now`` is the Unix time in seconds."""
        return {
            "sub": self.user_id,
            "name": self.name,
            "teams": list(self.teams),
            "project": project_id,
            "iat": int(now),
            "exp": int(now) + TOKEN_TTL_S,
        }

    def roles(self, project_id: str) -> list[str]:
        """Return the roles that a hub gives the bearer of such a token, sorted."""
        user = parse_claims(self.claims(project_id, 0), project_id)
        assert isinstance(user, User)  # noqa: S101 - it has `sub`, so it is no token of a stored user
        return sorted(user.roles())


PEOPLE = (Person("ada", "Ada", teams=("editors",)), Person("bob", "Bob"))


PLATFORMS = tuple(Platform(type="web", hostname=host, name=host) for host in ("localhost", "127.0.0.1"))
"""From where the demo project may be used."""


async def seed(store: Store, identities: IdentityStore, project_id: str, key_secret: str) -> None:
    """Create the project unless it is there, and make ``key_secret`` its development key, for every scope.

    A project that only the read model has, as data folders of former versions do, is taken over with its platforms.
    """
    known = await identities.get_project(project_id)
    project = known or Project(id=project_id, name="Demo", platforms=PLATFORMS)
    async with store.write(project) as tx:
        if await find_project(tx.connection, project_id, lock=True) is None:
            await create_project(tx, name=project.name, platforms=project.platforms)
        await _write_key(tx, key_secret)
        # Hubs may have another Redis than the last time.
        tx.change_project()
        tx.change_key(KEY_ID)


async def _write_key(tx: Transaction, secret: str) -> None:
    """Write the development key unless it is there, with this secret."""
    found = await tx.connection.execute(
        select(keys.c.secret_hash).where(keys.c.project_id == tx.project.id, keys.c.id == KEY_ID)
    )
    former = found.scalar_one_or_none()
    if former is not None and not verify_secret(secret, former):
        await delete_key(tx, KEY_ID)
        former = None
    if former is None:
        await create_key(tx, key_id=KEY_ID, name="Development", scopes=["*"], expires_at=None, secret=secret)


def page_config(settings: Settings, now: float) -> Mapping[str, Any]:
    """Return what the page needs to act for both people and to publish; it holds secrets.

    ``settings`` must have ``secret`` and ``dev_key``; the newest secret signs.
    """
    return {
        "project": settings.dev_project,
        "key": settings.dev_key,
        "channels": FAMILY_CHANNELS,
        "expiresAt": int(now) + TOKEN_TTL_S,
        "people": [
            {
                "userId": person.user_id,
                "name": person.name,
                "roles": person.roles(settings.dev_project),
                "jwt": mint(person.claims(settings.dev_project, now), settings.secrets[-1]),
            }
            for person in PEOPLE
        ],
    }
