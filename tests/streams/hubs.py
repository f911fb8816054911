"""Hubs as processes of their own, several on one Redis, to be stopped and killed."""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.streams.journal import DEADLINE_S

SECRET = "a secret of the stream tests that is long enough for HS256"

_UNUSED_TLS = ssl.create_default_context()
"""Each HTTP client would make one for itself, which takes as long as twenty requests."""

_PROGRAM = """
from realtime.hub.server import serve
from realtime.settings import Settings
serve(Settings())
"""

_DEFAULTS: dict[str, Any] = {
    "secret": SECRET,
    "limits": "off",
    "drain_window_s": 1,
    "close_timeout_s": 1,
    "log_level": "info",
    "log_format": "json",
}


class HubProcess:
    """One hub on a port of its own.

    Args:
        port: Where it listens.
        log: The file that it logs to.
        settings: Settings of the hub, besides the tests' own.
    """

    def __init__(self, port: int, log: Path, **settings: Any) -> None:
        self.port = port
        self.log = log
        # What was chosen for it, apart from the tests' defaults.
        self.settings = settings
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start the process, and wait until it answers. Also again, after it has ended."""
        chosen = {**_DEFAULTS, "port": self.port, **self.settings}
        ours = {f"REALTIME_{name.upper()}": str(value) for name, value in chosen.items()}
        others = {name: value for name, value in os.environ.items() if not name.startswith("REALTIME_")}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _PROGRAM),
                env={**others, **ours},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        async with asyncio.timeout(DEADLINE_S):
            while True:
                assert self._process.returncode is None, self.log.read_text()
                with contextlib.suppress(httpx.TransportError):
                    await self._get("/v1/health")
                    return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop it as an operator does: it drains its clients, and ends well."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(DEADLINE_S):
            assert await self._process.wait() == 0, self.log.read_text()

    async def kill(self) -> None:
        """Kill it, as a crash does; nothing happens when it does not run."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def finds_redis(self) -> bool:
        """Tell whether it believes that Redis is there."""
        health = (await self._get("/v1/health")).json()
        return bool(health["redis"]["status"] == "pass")

    async def samples(self) -> list[tuple[str, dict[str, str], float]]:
        """Return every sample of its metrics: name, labels and value."""
        page = (await self._get("/metrics")).text
        return [
            (sample.name, sample.labels, sample.value)
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        ]

    async def _get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(timeout=DEADLINE_S, trust_env=False, verify=_UNUSED_TLS) as http:
            return await http.get(f"http://127.0.0.1:{self.port}{path}")
