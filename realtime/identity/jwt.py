"""Verification of JSON Web Tokens (RFC 7519), by a shared secret or by the keys of an identity provider.

Which key may verify a token is decided here, never by the token: ``HS256`` is only ever checked against the
shared secrets, and the algorithms of public keys only against keys of the JWKS that are made for them.
``none`` and everything else is refused. What the claims mean is the business of
:mod:`realtime.identity.claims`. Sources: wire specification 2.4, 10.5 and 16.8; RFC 8725.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import jwt
import msgspec
from jwt.algorithms import HMACAlgorithm

from realtime.errors import InvalidCredentialError
from realtime.identity.jwks import JwksCache
from realtime.settings import Settings
from realtime.settings_checks import JWKS_ALGORITHMS


class _CheckedSecret(HMACAlgorithm):
    """HS256 with secrets that :class:`TokenVerifier` checked once, when it was made.

    PyJWT would look for PEM, DER and JSON in the secret, and warn of short ones, each time a token is
    verified.
    """

    def prepare_key(self, key: str | bytes) -> bytes:
        return key if isinstance(key, bytes) else key.encode()

    def check_key_length(self, key: bytes) -> str | None:  # noqa: ARG002 - PyJWT's signature
        return None


def _signatures() -> jwt.PyJWS:
    signatures = jwt.PyJWS(algorithms=JWKS_ALGORITHMS)
    signatures.register_algorithm("HS256", _CheckedSecret(HMACAlgorithm.SHA256))
    return signatures


_JWS = _signatures()


class TokenVerifier:
    """Tells valid tokens from others. One for each process; safe to share between tasks of one event loop."""

    def __init__(
        self,
        secrets: Sequence[str] = (),
        *,
        jwks_url: str = "",
        algorithms: Sequence[str] = JWKS_ALGORITHMS,
        audience: str = "",
        issuer: str = "",
        leeway_s: float = 5.0,
        timeout_s: float = 5.0,
        refetch_interval_s: float = 30.0,
        max_age_s: float = 600.0,
        max_jwks_bytes: int = 262_144,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the keys; nothing is fetched yet.

        Args:
            secrets: shared secrets for ``HS256``, oldest to newest, so that they can be rotated.
            jwks_url: where the identity provider publishes its keys; empty for none.
            algorithms: which of :data:`~realtime.settings_checks.JWKS_ALGORITHMS` those keys may have.
            audience: what ``aud`` must be or contain; empty skips the check. See :meth:`verify` for the exception.
            issuer: what ``iss`` must be; empty skips the check. The same exception.
            leeway_s: by how many seconds clocks may differ.
            timeout_s: how long one fetch of the keys may take, in seconds.
            refetch_interval_s: the least time between two fetches, in seconds.
            max_age_s: how long fetched keys are used before they are fetched anew, in seconds.
            max_jwks_bytes: the largest key set that is read.
            clock: Unix time in seconds.
            monotonic: a clock that never goes back, in seconds.

        Raises:
            ValueError: a secret is empty or a public key, or an algorithm is not one of
                :data:`~realtime.settings_checks.JWKS_ALGORITHMS`.
        """
        unknown = set(algorithms) - set(JWKS_ALGORITHMS)
        if unknown:
            raise ValueError(
                f"Only {', '.join(JWKS_ALGORITHMS)} can be used with a JWKS, not {sorted(unknown)}."
            )
        self._secrets = [_check_secret(secret) for secret in reversed(secrets)]
        self._jwks = None
        if jwks_url:
            self._jwks = JwksCache(
                jwks_url,
                algorithms,
                timeout_s=timeout_s,
                refetch_interval_s=refetch_interval_s,
                max_age_s=max_age_s,
                max_bytes=max_jwks_bytes,
                monotonic=monotonic,
            )
        self._audience = audience
        self._issuer = issuer
        self._leeway_s = leeway_s
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make a verifier of the tokens that the settings trust."""
        return cls(
            settings.secrets,
            jwks_url=settings.jwks_url,
            algorithms=settings.jwt_algorithms,
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
            leeway_s=settings.jwt_leeway_s,
        )

    async def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a valid token.

        ``exp`` is required and, like ``nbf``, a number. Audience and issuer, if configured, must be right. One
        exception: a token by a shared secret that names a user of the read model (no ``sub``) may lack them, as
        those that Appwrite makes do.

        Raises:
            InvalidCredentialError: the token is not valid; the text says why, without quoting it. Also when
                keys had to be fetched and could not be.
        """
        claims, is_shared = await self._open(token)
        self._check_times(claims)
        optional = is_shared and "sub" not in claims
        _check_audience(claims, self._audience, optional=optional)
        if self._issuer and not (optional and "iss" not in claims) and claims.get("iss") != self._issuer:
            raise InvalidCredentialError("Invalid token: Issuer")
        return claims

    async def aclose(self) -> None:
        """Close the connection to the JWKS URL, if any."""
        if self._jwks is not None:
            await self._jwks.aclose()

    async def _open(self, token: str) -> tuple[dict[str, Any], bool]:
        """Return the claims of a token whose signature is right, and whether a shared secret made it."""
        if token.count(".") != 2:
            raise InvalidCredentialError("Invalid token: Incomplete segments")
        try:
            # Of the header alone: the rest is looked at below, and decoding is what takes PyJWT longest
            # (benchmarks/connections.py).
            header = _JWS.get_unverified_header(token.partition(".")[0] + "..")
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidCredentialError("Invalid token: Malformed") from error
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._secrets:
            return _decode(token, self._secrets, "HS256"), True
        if algorithm in JWKS_ALGORITHMS and self._jwks is not None:
            return _decode(token, await self._jwks.candidates(header.get("kid"), algorithm), algorithm), False
        raise InvalidCredentialError("Invalid token: Unsupported algorithm")

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        now = self._clock()
        if "exp" not in claims:
            raise InvalidCredentialError("Invalid token: No expiry")
        if _seconds(claims["exp"]) <= now - self._leeway_s:
            raise InvalidCredentialError("Invalid token: Expired")
        if "nbf" in claims and _seconds(claims["nbf"]) > now + self._leeway_s:
            raise InvalidCredentialError("Invalid token: Not yet valid")


def mint(claims: Mapping[str, Any], secret: str) -> str:
    """Sign ``claims`` with a shared secret, as ``HS256``.

    Nothing is added: ``exp`` (Unix time in seconds) is the caller's to set, and tokens without it are
    refused. The claims that name an identity are listed in :mod:`realtime.identity.claims`.

    Raises:
        ValueError: the secret is empty or a public key.
    """
    return _JWS.encode(msgspec.json.encode(claims), _check_secret(secret), "HS256")


def _check_secret(secret: str) -> bytes:
    try:
        return HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(secret)
    except jwt.InvalidKeyError as error:
        raise ValueError("A shared secret for tokens must not be empty, nor a public key.") from error


def _decode(token: str, keys: Sequence[bytes] | Sequence[jwt.PyJWK], algorithm: str) -> dict[str, Any]:
    """Return the claims if one of ``keys``, tried in order, signed the token with ``algorithm``."""
    for key in keys:
        try:
            payload = _JWS.decode(token, key, algorithms=[algorithm])
        except jwt.InvalidSignatureError:
            continue
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidCredentialError("Invalid token: Malformed") from error
        try:
            return msgspec.json.decode(payload, type=dict[str, Any])
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidCredentialError("Invalid token: Malformed") from error
    raise InvalidCredentialError("Invalid token: Signature failed")


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidCredentialError("Invalid token: Malformed")
    return value


def _check_audience(claims: Mapping[str, Any], audience: str, *, optional: bool) -> None:
    if not audience or (optional and "aud" not in claims):
        return
    value = claims.get("aud")
    if value != audience and not (isinstance(value, list) and audience in value):
        raise InvalidCredentialError("Invalid token: Audience")
