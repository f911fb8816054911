"""The API keys that executions bring along: good for one project, some scopes, and little longer than the run.

They are kept nowhere. What they may do stands in them, as claims of a JSON Web Token, signed with secrets of this
purpose alone: neither a token of a user nor anything else that this server signs or encrypts is such a key, and whoever
may sign users' tokens cannot make one. Source: wire specification 12.2.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from realtime.errors import InvalidCredentialError
from realtime.identity.jwt import TokenVerifier, mint
from realtime.identity.model import ApiKey
from workers.store.sealing import Sealer

PREFIX = "ephemeral_"
"""What these keys begin with, and no others do."""


class EphemeralKey(ApiKey, frozen=True):
    """What such a key may do, and how it came to be."""

    depth: int = 0
    """How many functions, one setting off the next, led to the execution, itself included."""


_PURPOSE = "keys of executions"


class EphemeralKeys:
    """Makes keys, and tells valid ones from others."""

    def __init__(self, sealer: Sealer, clock: Callable[[], float] = time.time) -> None:
        """Sign with keys of ``sealer`` that are for this alone; ``clock`` is Unix time in seconds."""
        secrets = sealer.signing_keys(_PURPOSE)
        self._secret = secrets[-1]
        self._verifier = TokenVerifier(secrets, leeway_s=0, clock=clock)
        self._clock = clock

    def issue(self, project_id: str, scopes: Sequence[str], *, life_s: int, depth: int = 0) -> str:
        """Return a key of a project that is good for ``life_s`` seconds from now.

        What is done with it has the ``depth`` of the execution: by that, chains of functions are cut.
        """
        now = int(self._clock())
        claims = {
            "projectId": project_id,
            "scopes": list(scopes),
            "depth": depth,
            "iat": now,
            "exp": now + life_s,
        }
        return PREFIX + mint(claims, self._secret)

    async def open(self, project_id: str, secret: str) -> EphemeralKey:
        """Return what a key may do.

        Raises:
            InvalidCredentialError: it was not made by :meth:`issue`, is of another project, or its time is over.
        """
        if not secret.startswith(PREFIX):
            raise InvalidCredentialError("Invalid key: Not one of an execution")
        claims: dict[str, Any] = await self._verifier.verify(secret.removeprefix(PREFIX))
        if claims["projectId"] != project_id:
            raise InvalidCredentialError("Invalid key: Not for this project")
        return EphemeralKey(
            id="ephemeral",
            name="Execution of a function",
            scopes=tuple(claims["scopes"]),
            expires_at=claims["exp"],
            # Keys that an earlier release made have none.
            depth=claims.get("depth", 0),
        )
