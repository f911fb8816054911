"""Who calls the HTTP API, and with what right: the project, the user or API key, and their scopes.

A route says what it needs: ``Annotated[Caller, Depends(requires("teams.read"))]``, see :func:`requires`. Guests and
users have the scopes of one table, keys have their own; what a user may do to a single resource is decided by its
permissions, which keys bypass. Credentials are checked against the read model, as hubs do it, so that a request and a
connection never disagree. Sources: wire specification 2.1, 2.4, 8.1 and 10.6.
"""

import enum
import hmac
from dataclasses import dataclass, field, replace

from starlette.requests import Request

from realtime.errors import ClientError, ErrorKind, InvalidCredentialError
from realtime.hub.handshake import Credentials, read_credentials
from realtime.identity.model import GUEST, ApiKey, Identity, Project
from realtime.identity.secrets import decode_session, verify_secret
from workers.api import errors
from workers.api.problems import Problem, refuse
from workers.api.services import Services, services_of
from workers.functions.ephemeral_keys import PREFIX as EPHEMERAL
from workers.functions.ephemeral_keys import EphemeralKey
from workers.store.acting import Acting, act_as

PROJECT_HEADER = "X-Appwrite-Project"
KEY_HEADER = "X-Appwrite-Key"

GUEST_SCOPES = frozenset({
    "sessions.write", "rows.read", "rows.write", "documents.read", "documents.write", "public",
    "files.read", "files.write", "executions.write", "locale.read", "avatars.read",
})  # fmt: skip
"""What anybody may ask for."""

USER_SCOPES = GUEST_SCOPES | {
    "account", "teams.read", "teams.write", "executions.read", "subscribers.write",
    "presences.read", "presences.write",
}  # fmt: skip
"""What somebody who is logged in may ask for."""

_SYNONYMS = {
    "documents.read": "rows.read",
    "documents.write": "rows.write",
    "collections.read": "tables.read",
    "collections.write": "tables.write",
    "attributes.read": "columns.read",
    "attributes.write": "columns.write",
    "execution.read": "executions.read",
    "execution.write": "executions.write",
}
"""Scopes of the older vocabulary, which say the same as those of the newer one."""


class CallerKind(enum.Enum):
    """What a request was made with. The value is the role that errors name."""

    GUEST = "guests"
    USER = "users"
    KEY = "applications"
    ROOT = "owner"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a request, in which project."""

    project: Project
    kind: CallerKind
    identity: Identity
    scopes: frozenset[str] = field(repr=False)
    key: ApiKey | None = None
    mfa_pending: bool = False
    """Whether the user has still to show a second factor; only the routes for that let them in."""

    @property
    def user_id(self) -> str:
        """The user; empty for guests and keys."""
        return self.identity.user_id

    @property
    def session_id(self) -> str:
        """The session that the request was made with; empty for guests, keys, and tokens without a session."""
        return self.identity.session_id

    @property
    def roles(self) -> frozenset[str]:
        """The roles that permissions are checked against; ``any`` is not among them."""
        return self.identity.roles

    @property
    def acting(self) -> Acting:
        """What events tell of who acts: the user, and for the credentials of an execution, how it came to be."""
        return Acting(self.user_id, max(depth_of(self.key), self.identity.depth))

    @property
    def is_privileged(self) -> bool:
        """Whether permissions are not checked: for API keys and the root key."""
        return self.kind in (CallerKind.KEY, CallerKind.ROOT)

    def allows(self, scope: str) -> bool:
        """Tell whether the caller has ``scope``, by this name or by its synonym."""
        if "*" in self.scopes or scope in self.scopes:
            return True
        same = {scope, _SYNONYMS.get(scope, scope)}
        return any(_SYNONYMS.get(held, held) in same for held in self.scopes)


@dataclass(frozen=True, slots=True)
class Requirement:
    """The dependency that lets callers with a scope in, and tells a route who it is; see :func:`requires`."""

    scope: str
    mfa_pending: bool = False

    async def __call__(self, request: Request) -> Caller:
        """Return the caller of ``request``.

        Raises:
            ApiError: 404 ``project_not_found``, 401 ``general_unauthorized_scope``, ``user_blocked`` or
                ``user_more_factors_required``, and what :class:`~realtime.identity.resolver.Resolver` refuses.
            redis.RedisError: the read model cannot be reached.
        """
        caller = await find_caller(request)
        if caller.mfa_pending and not self.mfa_pending:
            raise refuse(Problem.MORE_FACTORS)
        if not caller.allows(self.scope):
            raise errors.missing_scope(caller.kind.value, self.scope)
        return caller


def requires(scope: str, *, mfa_pending: bool = False) -> Requirement:
    """Return the dependency of a route that only callers with ``scope`` may use.

    Args:
        scope: such as ``users.read``; ``account`` for what only a logged-in user may do.
        mfa_pending: whether to let in those who have still to show a second factor.
    """
    return Requirement(scope, mfa_pending)


async def find_caller(request: Request) -> Caller:
    """Return who makes ``request``, in the project that it names. Raises as :func:`requires` says.

    Looked up once a request, however many dependencies ask.
    """
    known: Caller | None = getattr(request.state, "caller", None)
    if known is None:
        project = await require_project(request)
        if not project.managed:
            raise errors.project_not_found()
        known = await _resolve(request, project)
        if not known.is_privileged and _service(request) in project.disabled_services:
            raise refuse(Problem.SERVICE_DISABLED)
        request.state.caller = known
        act_as(known.acting)
    return known


def _service(request: Request) -> str:
    """Return the service that a request is for: the first word of its path after the version."""
    return request.url.path.removeprefix("/v1/").partition("/")[0]


async def find_project(request: Request) -> Project | None:
    """Return the project that ``X-Appwrite-Project``, or else the parameter ``project``, names; None for no project.

    Looked up once a request. Raises :class:`redis.RedisError` when the read model cannot be reached.
    """
    if hasattr(request.state, "project"):
        known: Project | None = request.state.project
        return known
    project_id = request.headers.get(PROJECT_HEADER) or request.query_params.get("project", "")
    secret = request.headers.get(KEY_HEADER, "")
    # The key comes with the project, since both are in one place.
    found = await services_of(request).identities.get_project_and_key(project_id, secret)
    request.state.project, request.state.key = found
    return found[0]


def forget_caller(request: Request) -> None:
    """Have the project and the caller of ``request`` looked up anew."""
    for name in ("project", "key", "caller"):
        if hasattr(request.state, name):
            delattr(request.state, name)


async def require_project(request: Request) -> Project:
    """Return the project that the request names.

    Raises:
        ApiError: 404 ``project_not_found`` when nothing is named, or no project; 401 ``general_access_forbidden`` for
            one of another region.
        redis.RedisError: the read model cannot be reached.
    """
    project = await find_project(request)
    if project is None:
        raise errors.project_not_found()
    if project.region and project.region != services_of(request).settings.region:
        raise refuse(Problem.REGION)
    return project


async def require_scope(request: Request, project: Project, scope: str) -> ApiKey:
    """Return the API key in ``X-Appwrite-Key``, which must be one of ``project`` and have ``scope``.

    Raises:
        ApiError: 401 ``general_unauthorized_scope``; a missing, unknown or expired key makes a guest, as
            it does for Appwrite.
        redis.RedisError: the read model cannot be reached.
    """
    secret = request.headers.get(KEY_HEADER, "")
    if not secret:
        raise errors.missing_scope("guests", scope)
    try:
        key = await _check_key(services_of(request), project, secret)
    except InvalidCredentialError as error:
        raise errors.missing_scope("guests", scope) from error
    if not key.allows(scope):
        raise errors.missing_scope("applications", scope)
    return key


async def _check_key(services: Services, project: Project, secret: str) -> ApiKey:
    """Return the API key with this secret. Raises as :meth:`~realtime.identity.resolver.Resolver.check_key`."""
    if secret.startswith(EPHEMERAL):
        return await services.executions.keys.open(project.id, secret)
    return await services.resolver.check_key(project, secret)


def depth_of(key: ApiKey | None) -> int:
    """Return how many functions, one setting off the next, led to the execution that a key is of; 0 for other keys."""
    return key.depth if isinstance(key, EphemeralKey) else 0


def is_root(request: Request) -> bool:
    """Tell whether the request bears the root key of the settings."""
    root_key = services_of(request).settings.root_key
    secret = request.headers.get(KEY_HEADER, "")
    return bool(root_key) and hmac.compare_digest(secret.encode(), root_key.encode())


async def acts_by_key(request: Request, project: Project) -> bool:
    """Tell whether a request acts by an API key of ``project`` or the root key, and so by nothing that a browser adds.

    A key that is unknown or has expired, or gives way to a session or token in the same request, is none. Raises
    :class:`redis.RedisError` when the read model cannot be reached.
    """
    if not request.headers.get(KEY_HEADER):
        return False
    try:
        caller = await _resolve(request, project)
    except (ClientError, errors.ApiError):
        return False
    return caller.is_privileged


async def _resolve(request: Request, project: Project) -> Caller:
    services = services_of(request)
    if is_root(request):
        return Caller(project, CallerKind.ROOT, GUEST, frozenset({"*"}))
    credentials = read_credentials(request.headers.items(), project.id)
    is_alone = not any(credentials.sessions) and not credentials.jwt
    try:
        if (credentials.key and is_alone) or credentials.key.startswith(EPHEMERAL):
            return await _resolve_key(request, project, credentials)
        identity = await services.resolver.resolve(project, credentials)
    except ClientError as error:
        if error.kind is ErrorKind.KEY_INVALID:
            return _guest(project)
        raise
    if identity.key_id:
        return await _resolve_key(request, project, credentials)
    if identity.user_id:
        return Caller(project, CallerKind.USER, identity, USER_SCOPES)
    return await _explain_guest(services, project, credentials)


async def _resolve_key(request: Request, project: Project, credentials: Credentials) -> Caller:
    services, key = services_of(request), request.state.key
    if credentials.key.startswith(EPHEMERAL):
        key = await _open_ephemeral(services, project, credentials)
    if key is None or not services.resolver.is_current(key.expires_at):
        return _guest(project)
    return Caller(project, CallerKind.KEY, GUEST, frozenset(key.scopes), key)


async def _open_ephemeral(
    services: Services, project: Project, credentials: Credentials
) -> EphemeralKey | None:
    """Return the key of an execution, which the resolver does not know; None if it is not valid.

    A user beside it is one too many, as beside other keys.

    Raises:
        ClientError: ``KEY_AND_SESSION``, or what the resolver refuses of what is beside it.
    """
    beside = await services.resolver.resolve(project, replace(credentials, key=""))
    try:
        key = await services.executions.keys.open(project.id, credentials.key)
    except InvalidCredentialError:
        return None
    if beside.user_id:
        raise ClientError(ErrorKind.KEY_AND_SESSION)
    return key


def _guest(project: Project) -> Caller:
    return Caller(project, CallerKind.GUEST, GUEST, GUEST_SCOPES)


async def _explain_guest(services: Services, project: Project, credentials: Credentials) -> Caller:
    """Return the guest; but tell somebody who showed a good session why it does not let them in."""
    guest = _guest(project)
    shown = next(filter(None, map(decode_session, credentials.sessions)), None)
    user = await services.identities.get_user(project.id, shown[0]) if shown is not None else None
    if shown is None or user is None:
        return guest
    session = next((each for each in user.sessions if verify_secret(shown[1], each.secret_hash)), None)
    if session is None:
        return guest
    if not user.active:
        raise refuse(Problem.USER_BLOCKED)
    if not session.mfa_pending:
        return guest
    identity = Identity(roles=GUEST.roles, user_id=user.id, session_id=session.id)
    return Caller(project, CallerKind.USER, identity, USER_SCOPES, mfa_pending=True)
