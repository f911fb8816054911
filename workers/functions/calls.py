"""From an execution in the store to the call that an executor gets: code, variables, request and credentials."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import and_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.jwt import mint
from workers.functions.ephemeral_keys import EphemeralKeys
from workers.functions.executor import Call, Code
from workers.functions.executors.urls import is_url
from workers.functions.headers import event_headers, http_headers, schedule_headers
from workers.store.sealing import Sealer
from workers.store.tables import deployments, functions, variables

CREDENTIALS_OUTLIVE_S = 60
"""For how long the credentials of a call are good after the function must have ended (wire specification 12.2)."""

READY = "ready"
"""The status of a deployment that can be run."""

_NO_DEPLOYMENT = {"active_id": "", "active_commands": "", "storage_key": "", "size_bytes": 0}


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a function is called with, as it is kept, sealed, until the execution has ended."""

    headers: dict[str, str] = {}
    """As :func:`workers.functions.headers.check_headers` returns them."""
    body: bytes = b""
    user_id: str = ""
    """Who acted; empty for guests and API keys."""
    session_id: str = ""
    """The session that they acted with; empty for none."""
    client_ip: str = ""
    event: str = ""
    """The first name of the event that triggered it; empty if something else did."""
    by_key: bool = False
    """Whether an API key had it executed, which no permission has to allow."""
    although_disabled: bool = False
    """Whether it did so although the function was disabled."""
    claimed_roles: tuple[str, ...] = ()
    """The roles of whoever called, if no record tells them later: of guests, and of people known by a token alone."""

    def seal(self, sealer: Sealer) -> str:
        """Return the request as the store keeps it."""
        return sealer.seal(msgspec.json.encode(self).decode())

    @classmethod
    def unseal(cls, sealer: Sealer, sealed: str) -> "Request":
        """Return what :meth:`seal` was called on. Raises :class:`workers.store.sealing.UnsealError`."""
        return msgspec.json.decode(sealer.unseal(sealed), type=cls)


async def load_code(connection: AsyncConnection, project_id: str, function_id: str) -> Code | None:
    """Return what is to be run for a function; None if it has no deployment that is ready, or is gone.

    A function that lives at a URL needs no deployment, and is run without one.
    """
    active = and_(
        deployments.c.project_id == functions.c.project_id,
        deployments.c.function_id == functions.c.id,
        deployments.c.id == functions.c.deployment_id,
        deployments.c.status == READY,
    )
    found = await connection.execute(
        select(
            functions,
            deployments.c.id.label("active_id"),
            deployments.c.entrypoint.label("active_entrypoint"),
            deployments.c.commands.label("active_commands"),
            deployments.c.storage_key,
            deployments.c.size_bytes,
        )
        .outerjoin(deployments, active)
        .where(functions.c.project_id == project_id, functions.c.id == function_id)
    )
    row: Mapping[Any, Any] | None = found.mappings().one_or_none()
    if row is None:
        return None
    if is_url(row["entrypoint"]):
        # Whatever may have been deployed before it went there.
        row = {**row, **_NO_DEPLOYMENT, "active_entrypoint": row["entrypoint"]}
    if row["active_id"] is None:
        return None
    return Code(
        function_id=row["id"],
        name=row["name"],
        runtime=row["runtime"],
        entrypoint=row["active_entrypoint"],
        commands=row["active_commands"],
        timeout_s=row["timeout_s"],
        scopes=tuple(row["scopes"]),
        deployment_id=row["active_id"],
        storage_key=row["storage_key"],
        size_bytes=row["size_bytes"],
    )


async def load_variables(
    connection: AsyncConnection, sealer: Sealer, project_id: str, function_id: str
) -> Callable[[], Mapping[str, str]]:
    """Return what a :class:`Call` has for ``variables``: they are read now, and decrypted when it is called."""
    found = await connection.execute(
        select(variables.c.key, variables.c.sealed_value).where(
            variables.c.project_id == project_id, variables.c.function_id == function_id
        )
    )
    sealed = [(key, value) for key, value in found]
    return lambda: {key: sealer.unseal(value) for key, value in sealed}


class CallFactory:
    """Makes calls, with the credentials that their code may use.

    Args:
        secrets: what tokens of users are signed with, oldest first; without any, calls bear none.
        keys: makes the API keys of executions.
        clock: Unix time in seconds.
    """

    def __init__(
        self, secrets: tuple[str, ...], keys: EphemeralKeys, clock: Callable[[], float] = time.time
    ) -> None:
        self._secret = secrets[-1] if secrets else ""
        self._keys = keys
        self._clock = clock

    def make(
        self,
        project_id: str,
        code: Code,
        execution: Mapping[Any, Any],
        request: Request,
        variables: Callable[[], Mapping[str, str]],
    ) -> Call:
        """Return the call for ``execution``, a row of ``executions`` that has not ended."""
        return Call(
            project_id=project_id,
            code=code,
            execution_id=execution["id"],
            trigger=execution["trigger"],
            method=execution["request_method"],
            path=execution["request_path"],
            headers=self._headers(project_id, code, execution, request),
            body=request.body,
            variables=variables,
        )

    def _headers(
        self, project_id: str, code: Code, execution: Mapping[Any, Any], request: Request
    ) -> dict[str, str]:
        execution_id = execution["id"]
        life_s = code.timeout_s + CREDENTIALS_OUTLIVE_S
        key = self._keys.issue(project_id, code.scopes, life_s=life_s, depth=execution["depth"])
        match execution["trigger"]:
            case "event":
                return event_headers(
                    execution_id=execution_id, key=key, event=request.event, user_id=request.user_id
                )
            case "schedule":
                return schedule_headers(execution_id=execution_id, key=key)
        return http_headers(
            request.headers,
            execution_id=execution_id,
            key=key,
            user_id=request.user_id,
            user_jwt=self._user_jwt(project_id, request, life_s, execution["depth"]),
            client_ip=request.client_ip,
        )

    def _user_jwt(self, project_id: str, request: Request, life_s: int, depth: int) -> str:
        """Return a token that stands for whoever made the call, in this project only; empty for nobody.

        As with the key, what is done with it has the depth of the execution.
        """
        if not request.user_id or not self._secret:
            return ""
        now = int(self._clock())
        claims = {
            "userId": request.user_id,
            "sessionId": request.session_id,
            "project": project_id,
            "iat": now,
            "exp": now + life_s,
            "depth": depth,
        }
        return mint(claims, self._secret)
