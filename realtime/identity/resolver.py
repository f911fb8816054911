"""From what a client presents to the identity it acts as: the order and precedence of wire specification 2.4.

:class:`Resolver` decides at three moments: when a connection opens, when it authenticates in-band (4.2), and
when the read model changed under an open connection (8.3, 16.12). It keeps nothing between calls.

How long an identity lasts (``expires_at``): with a session, as long as the session, also when a token brought
it, so that a token of 15 minutes need not be renewed on an open socket; without one, until the token's
``exp``; with an API key, until the key's own end.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import msgspec

from realtime.errors import ClientError, ErrorKind, InvalidCredentialError
from realtime.identity.account import account_object
from realtime.identity.claims import UserClaims, parse_claims
from realtime.identity.jwt import TokenVerifier
from realtime.identity.model import CONSOLE, GUEST, ApiKey, Identity, Project, User
from realtime.identity.scopes import roles_of_key
from realtime.identity.secrets import decode_session, verify_secret


class Credentials(Protocol):
    """What a client presented while the connection opened; each text empty if it did not."""

    @property
    def sessions(self) -> tuple[str, ...]:
        """Session values, in the order of their sources: the first that can be decoded counts."""

    @property
    def jwt(self) -> str:
        """A JSON Web Token."""

    @property
    def key(self) -> str:
        """The secret of an API key."""

    @property
    def key_user(self) -> str:
        """The user ``key`` is an account key of. Only Appwrite's console has such keys; they are ignored."""

    @property
    def impersonate_id(self) -> str:
        """The ID of the user to act as."""

    @property
    def impersonate_email(self) -> str:
        """Their e-mail address, used if there is no ID."""

    @property
    def impersonate_phone(self) -> str:
        """Their phone number, used if there is neither."""


class IdentityReader(Protocol):
    """Where records are looked up: :class:`realtime.identity.store.IdentityStore`.

    Each call returns the record as last written, None if there is none, and changes nothing; it may be
    repeated, and cancelled. Errors of the store pass through the resolver as they are.
    """

    async def get_user(self, project_id: str, user_id: str) -> User | None:
        """Return the user with this ID."""

    async def find_user_by_email(self, project_id: str, email: str) -> User | None:
        """Return the user with this e-mail address, in any case of its letters."""

    async def find_user_by_phone(self, project_id: str, phone: str) -> User | None:
        """Return the user with this phone number."""

    async def get_key(self, project_id: str, secret: str) -> ApiKey | None:
        """Return the API key with this secret, expired or not."""

    async def list_keys(self, project_id: str) -> list[ApiKey]:
        """Return all API keys of the project."""


class Resolver:
    """Tells who somebody is. Safe to share between tasks."""

    def __init__(
        self, store: IdentityReader, verifier: TokenVerifier | None, clock: Callable[[], float]
    ) -> None:
        """Look records up in ``store``; without ``verifier`` every token is refused.

        ``clock`` returns Unix time in seconds.
        """
        self._store = store
        self._verifier = verifier
        self._clock = clock

    async def resolve(self, project: Project, credentials: Credentials, *, admin: bool = False) -> Identity:
        """Return the identity of a connection that opens (wire specification 2.4).

        A session or a token's user that does not check out is a guest, without an error; so is a blocked
        user. A token or key that is itself not valid is refused.

        Args:
            project: the project of the connection.
            credentials: what was presented.
            admin: mode ``admin``: sessions and tokens are those of the console's users, who are let in as members
                of the team that owns the project, and as guests otherwise.

        Raises:
            ClientError: ``JWT_AND_SESSION``, ``JWT_INVALID``, ``KEY_AND_SESSION`` or ``KEY_INVALID``.
            redis.RedisError: the store cannot be reached.
        """
        home = CONSOLE if admin else project.id
        proof = await self._check_session(home, _first_session(credentials.sessions))
        if credentials.jwt:
            if proof is not None:
                raise ClientError(ErrorKind.JWT_AND_SESSION)
            try:
                proof = await self._check_token(home, credentials.jwt)
            except InvalidCredentialError as error:
                raise ClientError(ErrorKind.JWT_INVALID, reason=str(error)) from error
        if credentials.key and not credentials.key_user:
            try:
                key = await self.check_key(project, credentials.key)
            except InvalidCredentialError as error:
                raise ClientError(ErrorKind.KEY_INVALID) from error
            if proof is not None:
                raise ClientError(ErrorKind.KEY_AND_SESSION)
            return _key_identity(key)
        if proof is None:
            return GUEST
        target = await self._find_target(home, credentials) if proof.user.impersonator else None
        if home != project.id:
            return _owner_identity(proof, project, home)
        return _user_identity(proof, target=target)

    async def authenticate(
        self, project: Project, *, session: str = "", jwt: str = "", key: str = ""
    ) -> Identity:
        """Return the identity for an ``authentication`` message (wire specification 4.2 and 16.7).

        Exactly one credential is given. Unlike at opening, one that leads to no user is an error.

        Raises:
            ClientError: ``SESSION_INVALID``, or ``CREDENTIAL_INVALID`` for a token or key that is not valid;
                nothing is to change then.
            redis.RedisError: the store cannot be reached.
        """
        try:
            if key:
                return _key_identity(await self.check_key(project, key))
            if jwt:
                proof = await self._check_token(project.id, jwt)
            else:
                proof = await self._check_session(project.id, decode_session(session))
        except InvalidCredentialError as error:
            reason = str(error) if key else f"Failed to verify JWT. {error}"
            raise ClientError(ErrorKind.CREDENTIAL_INVALID, reason=reason) from error
        if proof is None:
            raise ClientError(ErrorKind.SESSION_INVALID)
        return _user_identity(proof)

    async def refresh(self, project: Project, identity: Identity) -> Identity:
        """Return what an identity has become, by the records as they are now (wire specification 8.3, 16.12).

        Nothing that was proved when the connection opened is asked for again; what it rests on must still be
        there: the user, not blocked; the session or key, not expired; for an impersonated connection both users
        and the right to impersonate. Identities without a record stay as they are until they expire.

        Returns:
            The guest when something is gone.

        Raises:
            redis.RedisError: the store cannot be reached.
        """
        if identity.key_id:
            keys = await self._store.list_keys(project.id)
            key = next((key for key in keys if key.id == identity.key_id), None)
            return _key_identity(key) if key is not None and self.is_current(key.expires_at) else GUEST
        if not identity.stored:
            return identity if self.is_current(identity.expires_at) else GUEST
        home = identity.home or project.id
        proof = await self._check_user(
            home, identity.actor_id, identity.session_id, identity.expires_at, identity.issued_at
        )
        if proof is None:
            return GUEST
        proof = replace(proof, depth=identity.depth)
        if identity.home:
            return _owner_identity(proof, project, identity.home)
        if identity.impersonated:
            return await self._impersonate_again(home, identity, proof)
        return _user_identity(proof)

    async def _impersonate_again(self, home: str, identity: Identity, proof: "_Proof") -> Identity:
        target = _active(await self._store.get_user(home, identity.user_id))
        if target is None or not proof.user.impersonator:
            return GUEST
        return _user_identity(proof, target=target)

    async def check_key(self, project: Project, secret: str) -> ApiKey:
        """Return the API key of ``project`` with this secret.

        Raises:
            InvalidCredentialError: there is none, or it has expired.
            redis.RedisError: the store cannot be reached.
        """
        key = await self._store.get_key(project.id, secret)
        if key is None or not self.is_current(key.expires_at):
            raise InvalidCredentialError(ErrorKind.KEY_INVALID.value.text)
        return key

    async def _check_session(self, home: str, value: tuple[str, str] | None) -> "_Proof | None":
        """Return the proof that a decoded session value gives (wire specification 2.4); None for none."""
        if value is None:
            return None
        user_id, secret = value
        user = _active(await self._store.get_user(home, user_id))
        if user is None:
            return None
        for session in user.sessions:
            if (
                session.provider
                and not session.mfa_pending
                and self.is_current(session.expires_at)
                and verify_secret(secret, session.secret_hash)
            ):
                return _Proof(user, session.id, session.expires_at)
        return None

    async def _check_token(self, home: str, token: str) -> "_Proof | None":
        """Return the proof that a token gives; None when it is valid, but its user or session is not.

        Raises:
            InvalidCredentialError: the token itself is not valid here.
        """
        if self._verifier is None:
            raise InvalidCredentialError("Tokens are not accepted here.")
        claims = await self._verifier.verify(token)
        subject = parse_claims(claims, home)
        if isinstance(subject, UserClaims):
            proof = await self._check_user(
                home, subject.user_id, subject.session_id, float(claims["exp"]), subject.issued_at
            )
            return None if proof is None else replace(proof, depth=subject.depth)
        return _Proof(subject, "", float(claims["exp"]), stored=False)

    async def _check_user(
        self, home: str, user_id: str, session_id: str, expires_at: float | None, issued_at: float | None
    ) -> "_Proof | None":
        """Return the proof of a user vouched for elsewhere; a session, if any, decides how long it lasts."""
        user = _active(await self._store.get_user(home, user_id))
        if user is None:
            return None
        if not session_id:
            # Tokens tell their time in full seconds.
            is_void = issued_at is not None and issued_at + 1 <= user.tokens_from
            if is_void or not self.is_current(expires_at):
                return None
            return _Proof(user, "", expires_at, issued_at)
        for session in user.sessions:
            if session.id == session_id and not session.mfa_pending and self.is_current(session.expires_at):
                return _Proof(user, session_id, session.expires_at)
        return None

    async def _find_target(self, home: str, credentials: Credentials) -> User | None:
        """Return the user to impersonate; None when none was named, or is there, or it is blocked."""
        if credentials.impersonate_id:
            return _active(await self._store.get_user(home, credentials.impersonate_id))
        if credentials.impersonate_email:
            return _active(await self._store.find_user_by_email(home, credentials.impersonate_email))
        if credentials.impersonate_phone:
            return _active(await self._store.find_user_by_phone(home, credentials.impersonate_phone))
        return None

    def is_current(self, expires_at: float | None) -> bool:
        """Tell whether something that ends at ``expires_at``, Unix time in seconds, is still good; None never ends."""
        return expires_at is None or expires_at >= self._clock()


@dataclass(frozen=True, slots=True)
class _Proof:
    """A user, and what vouches for them."""

    user: User
    session_id: str
    expires_at: float | None
    issued_at: float | None = None
    stored: bool = True
    depth: int = 0


def _active(user: User | None) -> User | None:
    return user if user is not None and user.active else None


def _first_session(values: Iterable[str]) -> tuple[str, str] | None:
    # A value that can be decoded but does not check out still hides those after it.
    return next(filter(None, map(decode_session, values)), None)


def _key_identity(key: ApiKey) -> Identity:
    return Identity(roles=roles_of_key(key.scopes), key_id=key.id, expires_at=key.expires_at, stored=True)


def _owner_identity(proof: _Proof, project: Project, home: str) -> Identity:
    """Return the identity of a user of another project, the console, in ``project``.

    They are let in if they own it, and as a guest otherwise. Only the roles of the owning team count: a user of
    the console and one of the project may have the same ID, and so may their teams.
    """
    team = f"team:{project.team_id}"
    roles = proof.user.roles() if project.team_id else frozenset[str]()
    owned = frozenset(role for role in roles if role == team or role.startswith(f"{team}/"))
    if not owned:
        return GUEST
    return msgspec.structs.replace(_user_identity(proof), roles=owned, home=home)


def _user_identity(proof: _Proof, *, target: User | None = None) -> Identity:
    user = target or proof.user
    account = account_object(user)
    if target is not None:
        account["impersonatorUserId"] = proof.user.id
    return Identity(
        roles=user.roles(),
        user_id=user.id,
        session_id=proof.session_id,
        account=account,
        expires_at=proof.expires_at,
        issued_at=proof.issued_at,
        stored=proof.stored,
        impersonated=target is not None,
        impersonator_id=proof.user.id if target is not None else "",
        depth=proof.depth,
    )
