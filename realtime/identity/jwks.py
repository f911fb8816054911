"""The public keys of an identity provider, fetched from its JWKS URL and kept fresh (RFC 7517).

Part of the shell around :mod:`realtime.identity.jwt`: it decides which keys may verify a token, never whether
the token is valid.
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Any

import httpx
import jwt
import msgspec

from realtime.errors import InvalidCredentialError

_UNAVAILABLE = "The signing keys could not be fetched."


class JwksCache:
    """The keys behind one JWKS URL.

    Keys are fetched when first needed, when a token names a key that is not known, and when they are older
    than ``max_age_s`` (so that a withdrawn key stops working). Whatever tokens arrive, two fetches are at
    least ``refetch_interval_s`` apart; connections that need keys at the same moment share one fetch. While
    the URL cannot be reached, the keys fetched last stay good.
    """

    def __init__(
        self,
        url: str,
        algorithms: Collection[str],
        *,
        timeout_s: float,
        refetch_interval_s: float,
        max_age_s: float,
        max_bytes: int,
        monotonic: Callable[[], float],
    ) -> None:
        """See :class:`realtime.identity.jwt.TokenVerifier`, which passes its own settings on."""
        self._url = url
        self._algorithms = frozenset(algorithms)
        self._timeout_s = timeout_s
        self._refetch_interval_s = refetch_interval_s
        self._max_age_s = max_age_s
        self._max_bytes = max_bytes
        self._monotonic = monotonic
        self._client: httpx.AsyncClient | None = None
        self._lock = asyncio.Lock()
        self._keys: list[jwt.PyJWK] = []
        # When keys were last fetched, and last asked for, by the monotonic clock; None before the first time.
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False

    async def candidates(self, key_id: str | None, algorithm: str) -> list[jwt.PyJWK]:
        """Return the keys that may have signed a token with this header, at least one.

        Args:
            key_id: the token's ``kid``; None when it has none: then each key of the algorithm is a candidate.
            algorithm: the token's ``alg``. A key is only ever used with its own algorithm.

        Raises:
            InvalidCredentialError: no such key is known, also after asking again, or keys could not be
                fetched.
        """
        found = self._find(key_id, algorithm)
        if not found or self._is_stale():
            await self._refresh()
            found = self._find(key_id, algorithm)
        if not found:
            raise InvalidCredentialError(_UNAVAILABLE if self._failed else "Invalid token: Unknown key")
        return found

    async def aclose(self) -> None:
        """Close the connection to the provider. A later fetch opens a new one."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _find(self, key_id: str | None, algorithm: str) -> list[jwt.PyJWK]:
        return [
            key
            for key in self._keys
            if key.algorithm_name == algorithm and (key_id is None or key.key_id == key_id)
        ]

    def _is_stale(self) -> bool:
        return self._fetched_at is None or self._monotonic() - self._fetched_at > self._max_age_s

    async def _refresh(self) -> None:
        """Fetch the keys, unless somebody did within the interval. Cancelling leaves the old keys."""
        async with self._lock:  # whoever waits here finds the interval not over, and uses what was fetched
            if self._tried_at is not None and self._monotonic() - self._tried_at < self._refetch_interval_s:
                return
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._keys = self._parse(await self._fetch())
            except (httpx.HTTPError, TimeoutError, ValueError, msgspec.MsgspecError, RecursionError):
                self._failed = True
            else:
                self._failed = False
                self._fetched_at = self._monotonic()
            self._tried_at = self._monotonic()

    async def _fetch(self) -> bytes:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=self._timeout_s)
        body = bytearray()
        async with self._client.stream("GET", self._url) as response:
            response.raise_for_status()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._max_bytes:
                    raise ValueError("the key set is too large")
        return bytes(body)

    def _parse(self, body: bytes) -> list[jwt.PyJWK]:
        document = msgspec.json.decode(body, type=dict[str, Any])
        entries = document.get("keys")
        if not isinstance(entries, list):
            raise ValueError("a key set has a list of keys")  # noqa: TRY004 - the data is wrong, not a type
        keys = [_parse_key(entry) for entry in entries]
        return [key for key in keys if key is not None and key.algorithm_name in self._algorithms]


def _parse_key(entry: object) -> jwt.PyJWK | None:
    """Return the key, or None for one that is of no use here; a set may hold keys for other purposes."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    try:
        return jwt.PyJWK(entry)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError):
        return None
