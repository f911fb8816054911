"""What happens between a client's handshake and its greeting: the checks of wire specification 2.2, in order."""

import asyncio
import functools
import ipaddress
import secrets
from collections.abc import Callable, Sequence

import structlog
from redis.exceptions import RedisError

from realtime.channels import convert
from realtime.errors import ClientError, CloseCode, ErrorKind, InvalidQueryError
from realtime.hub.connection import Connection
from realtime.hub.frames import text_frame
from realtime.hub.handshake import Handshake, Slot, build_slots, client_ip, parse_handshake
from realtime.hub.limits import WindowCounter, message_limits
from realtime.hub.metrics import Stats
from realtime.hub.registry import CONSOLE, Registry
from realtime.hub.room import Room
from realtime.identity.model import Identity
from realtime.identity.origins import check_origin, is_dev_key
from realtime.identity.resolver import Resolver
from realtime.messages import encode_connected, encode_error
from realtime.queries import Filter, compile_filter
from realtime.settings import Settings

log = structlog.get_logger("realtime.hub")


class Opening:
    """Judges new connections: greets them into their project's room, or tells them why not."""

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        resolver: Resolver,
        stats: Stats,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._resolver = resolver
        self._stats = stats
        self._clock = clock
        self._limits = message_limits(settings)
        self._rate = WindowCounter()
        self._proxies = [ipaddress.ip_network(network) for network in settings.trusted_proxies]
        # All connections may come by way of a few proxies (benchmarks/connections.py).
        self._is_trusted = functools.lru_cache(maxsize=1024)(self._is_proxy)

    async def open(self, connection: Connection, target: str, headers: Sequence[tuple[str, str]]) -> None:
        """Greet ``connection`` or refuse it. Never raises, but for cancellation."""
        room: Room | None = None
        try:
            async with asyncio.timeout(self._settings.handshake_timeout_s):
                handshake = parse_handshake(target, headers)
                connection.peer = self._client_ip(connection.peer, headers)
                room = await self._registry.enter(handshake.project_id)
                if room is None:
                    raise ClientError(ErrorKind.PROJECT_UNKNOWN)
                identity = await self._identify(room, handshake)
            self._check(connection, room, handshake, identity)
            if not connection.closed:
                self._greet(connection, room, handshake, identity)
        except ClientError as error:
            self._refuse(connection, error)
        except (RedisError, TimeoutError) as error:
            log.warning("a connection could not be judged", error=repr(error))
            self._refuse(connection, ClientError(ErrorKind.UNAVAILABLE))
        except Exception:
            log.exception("opening a connection failed")
            self._refuse(connection, ClientError(ErrorKind.SERVER_ERROR))
        finally:
            if room is not None:
                self._registry.unpin(room)

    def _client_ip(self, peer: str, headers: Sequence[tuple[str, str]]) -> str:
        names = self._settings.trusted_ip_headers
        return client_ip(peer, headers, header_names=names, trusted=self._is_trusted)

    def _is_proxy(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)

    async def _identify(self, room: Room, handshake: Handshake) -> Identity:
        """Find out who this is, by a reading that no later change has made stale.

        Changes are announced on the project's live channel, which is heard already; but a connection that is not
        in the room yet would miss the announcement.
        """
        while True:
            changes = room.changes
            identity = await self._resolver.resolve(
                room.project, handshake.credentials, admin=handshake.admin
            )
            if room.changes == changes:
                return identity

    def _check(self, connection: Connection, room: Room, handshake: Handshake, identity: Identity) -> None:
        """Apply steps 3 to 6; and step 1 again, since the project may have been deleted meanwhile."""
        project, settings = room.project, self._settings
        if room.is_deleted:
            raise ClientError(ErrorKind.PROJECT_UNKNOWN)
        if not project.websocket_enabled and not identity.key_id:
            raise ClientError(ErrorKind.API_DISABLED)
        if project.region and project.region != settings.region:
            raise ClientError(ErrorKind.REGION_MISMATCH)
        self._check_rate(connection, handshake, room)
        if handshake.origin and project.id != CONSOLE.id:
            dev_key = is_dev_key(project, handshake.credentials.dev_key, self._clock())
            check_origin(handshake.origin, project, platform_hosts=settings.domains, dev_key=dev_key)

    def _check_rate(self, connection: Connection, handshake: Handshake, room: Room) -> None:
        settings = self._settings
        path_and_peer = f"{handshake.path.rstrip('/')} {connection.peer}"
        hits = self._rate.hit(path_and_peer, self._clock())
        if settings.connections_per_minute and hits > settings.connections_per_minute:
            raise ClientError(ErrorKind.TOO_MANY_CONNECTIONS)
        if settings.max_connections and self._registry.connection_count >= settings.max_connections:
            raise ClientError(ErrorKind.TOO_MANY_CONNECTIONS)
        if settings.max_project_connections and len(room.connections) >= settings.max_project_connections:
            raise ClientError(ErrorKind.PROJECT_FULL)

    def _greet(self, connection: Connection, room: Room, handshake: Handshake, identity: Identity) -> None:
        """Apply steps 7 to 10: from here to the end nothing waits, so no event comes in between."""
        channels = convert(handshake.channels, identity.user_id)
        slots = build_slots(channels, handshake.params, limits=self._limits)
        filters = [self._filter(slot) for slot in slots]
        self._check_cost(filters)
        self._registry.admit(connection, room, identity)
        ids: dict[str | int, str] = {}
        for slot, slot_filter in zip(slots, filters, strict=True):
            ids[slot.key] = secrets.token_hex(10)
            room.index.subscribe(connection, ids[slot.key], slot.channels, slot_filter)
        frame = encode_connected(channels, ids, identity.account, room.position)
        connection.wire.send(text_frame(frame))
        log.info(
            "connection opened",
            project=room.project.id,
            user=identity.user_id or None,
            key=identity.key_id or None,
            peer=connection.peer,
            sdk=handshake.sdk_name or None,
        )

    def _filter(self, slot: Slot) -> Filter | None:
        try:
            return compile_filter(slot.queries, max_depth=self._limits.max_query_depth)
        except InvalidQueryError as error:
            raise ClientError(ErrorKind.URL_QUERY_INVALID, reason=str(error)) from error

    def _check_cost(self, filters: Sequence[Filter | None]) -> None:
        limit = self._settings.conditions_per_connection
        if limit and sum(query.cost for query in set(filters) if query is not None) > limit:
            reason = f"At most {limit} conditions are allowed in the queries of a connection."
            raise ClientError(ErrorKind.URL_LIMIT, reason=reason)

    def _refuse(self, connection: Connection, error: ClientError) -> None:
        """Tell the client why, and close (wire specification 2.3)."""
        self._stats.count("realtime_connections_refused", error.type)
        log.info("connection refused", code=error.code, error=str(error), peer=connection.peer)
        connection.wire.send(text_frame(encode_error(error.code, str(error))))
        connection.closed = True
        connection.wire.close(error.close_code or CloseCode.POLICY_VIOLATION, str(error))
