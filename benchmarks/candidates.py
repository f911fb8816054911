"""The servers that are measured: the hub, and the peers it is compared with; and how clients talk to each.

A peer sends what it hears on the project's live channel at Redis to everybody who is connected: no permissions, no
subscriptions, no identities. So each comparison gives the peer less to do than the hub. `make bench` installs the
peers; of one that is missing, the tables say so.
"""

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import orjson

from benchmarks.common import PROJECT, SECRET, query_of

_PEERS = Path(__file__).with_name("peers")
_MODULES = _PEERS / "node_modules"


@dataclass(frozen=True, slots=True)
class Speech:
    """What a client of a server says and hears until events reach it."""

    path: str = "/"
    """May hold ``{line}``, which becomes the token of the connection's user."""
    message: str = ""
    """Sent as soon as the connection is upgraded; ``{id}`` becomes 20 hexadecimal digits of the connection's own."""
    greeting_frames: int = 0
    """How many messages arrive before the first event."""
    answers: str = ""
    """``ASK=ANSWER``: a message of the server's own heartbeat, and what it expects."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A server to measure."""

    name: str
    command: tuple[str, ...]
    """What starts it; a peer is given a port, the URL of Redis, the live channel, and perhaps ``deflate``."""
    speech: Speech = Speech()
    settings: tuple[tuple[str, str], ...] = ()
    """The hub's settings, names and values; empty for a peer."""
    compresses: bool = True
    """Whether it can."""
    missing: str = ""
    """Why it cannot be run here; empty if it can."""

    @property
    def is_hub(self) -> bool:
        """Whether it is the hub, so that clients need a token and events an envelope."""
        return bool(self.settings)


def hub(channel: str, *, by_url: bool = False, name: str = "hub", **settings: str) -> Candidate:
    """Return the hub, with clients that subscribe to ``channel``.

    Args:
        channel: The one subscription of each client.
        by_url: Whether clients subscribe in the URL, as older SDKs do, so that the hub makes the subscription's ID;
            if not, by a message with an ID that the client made, as newer ones do.
        name: What it is called in the table.
        settings: What is not at its default. The limits are off anyway.
    """
    path = f"/v1/realtime?project={PROJECT}&jwt={{line}}"
    if by_url:
        speech = Speech(f"{path}&{query_of(channel)}", greeting_frames=1)
    else:
        item = {"subscriptionId": "{id}", "channels": [channel]}
        message = orjson.dumps({"type": "subscribe", "data": [item]}).decode()
        speech = Speech(path, message, greeting_frames=2)
    command = (sys.executable, "-c", "from workers.cli import main; main()", "hub")
    everything = {"secret": SECRET, "limits": "off", **settings}
    return Candidate(name, command, speech, tuple(everything.items()))


def guests(channel: str) -> Speech:
    """Return how clients without a token subscribe at the hub."""
    return Speech(f"/v1/realtime?project={PROJECT}&{query_of(channel)}", greeting_frames=1)


def bare() -> Candidate:
    """Return the server that does the least that Python and uvloop can do."""
    return _python("bare uvloop", "bare_server", compresses=False)


def websockets() -> Candidate:
    """Return the server made with ``websockets`` and its ``broadcast``."""
    return _python("websockets", "websockets_server")


def bun() -> Candidate:
    """Return the server made with Bun and its native ``publish``."""
    # Installed without its script, which would only link it elsewhere; one folder for each kind of machine.
    installed = sorted(_MODULES.glob("@oven/bun-*/bin/bun"))
    program = str(installed[0]) if installed else which("bun") or ""
    missing = "" if program else "Bun is not installed"
    return Candidate("Bun", (program, str(_PEERS / "bun_server.js")), missing=missing)


def node_ws() -> Candidate:
    """Return the server made with ``ws`` of Node.js."""
    node = which("node")
    missing = "" if node and (_MODULES / "ws").exists() else "Node.js or its package ws is not installed"
    return Candidate("Node ws", (node or "", str(_PEERS / "ws_server.js")), missing=missing)


def socketio() -> Candidate:
    """Return the server made with python-socketio, uvicorn and uvloop, which emits to a room."""
    # Engine.IO 4: "0" opens, the client's "40" asks for the namespace, "40" grants it; "2" and "3" are the heartbeat.
    speech = Speech("/socket.io/?EIO=4&transport=websocket", "40", greeting_frames=2, answers="2=3")
    return _python("python-socketio", "socketio_server", speech, needs=("socketio",))


def channels() -> Candidate:
    """Return the server made with Django Channels, its Redis layer and uvicorn, which sends to a group."""
    return _python("Django Channels", "channels_server", needs=("channels", "channels_redis", "django"))


def peers() -> list[Candidate]:
    """Return all peers, the quickest first."""
    return [bun(), bare(), node_ws(), websockets(), socketio(), channels()]


def _python(
    name: str, module: str, speech: Speech = Speech(), *, compresses: bool = True, needs: tuple[str, ...] = ()
) -> Candidate:
    absent = [package for package in needs if find_spec(package) is None]
    missing = f"{', '.join(absent)} not installed" if absent else ""
    command = (sys.executable, "-m", f"benchmarks.peers.{module}")
    return Candidate(name, command, speech, compresses=compresses, missing=missing)
