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

_PURPOSE = "keys of executions"


class EphemeralKeys:
    """Makes keys, and tells valid ones from others."""

    def __init__(self, sealer: Sealer, clock: Callable[[], float] = time.time) -> None:
        """Sign with keys of ``sealer`` that are for this alone; ``clock`` is Unix time in seconds."""
        secrets = sealer.signing_keys(_PURPOSE)
        self._secret = secrets[-1]
        self._verifier = TokenVerifier(secrets, leeway_s=0, clock=clock)
        self._clock = clock

    def issue(self, project_id: str, scopes: Sequence[str], *, life_s: int) -> str:
        """Return a key of a project that is good for ``life_s`` seconds from now."""
        now = int(self._clock())
        claims = {"projectId": project_id, "scopes": list(scopes), "iat": now, "exp": now + life_s}
        return PREFIX + mint(claims, self._secret)

    async def open(self, project_id: str, secret: str) -> ApiKey:
        """Return what a key may do.

        Raises:
            InvalidCredentialError: it was not made by :meth:`issue`, is of another project, or its time is over.
        """
        if not secret.startswith(PREFIX):
            raise InvalidCredentialError("Invalid key: Not one of an execution")
        claims: dict[str, Any] = await self._verifier.verify(secret.removeprefix(PREFIX))
        if claims["projectId"] != project_id:
            raise InvalidCredentialError("Invalid key: Not for this project")
        return ApiKey(
            id="ephemeral",
            name="Execution of a function",
            scopes=tuple(claims["scopes"]),
            expires_at=claims["exp"],
        )
