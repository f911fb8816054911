"""The runtimes that functions are run by as processes: their command lines, and their environment. Pure.

There is one Python and one Node.js, those of the settings, whatever version a function asks for.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from realtime import __version__
from realtime.settings import Settings
from workers.functions.executor import Call

_SHIMS = Path(__file__).parent.parent / "shims"

SUPERVISOR = (sys.executable, "-I", "-S", str(_SHIMS / "supervisor.py"))
"""What every process of a function is started by; limits and command follow."""

_OLD_SPACE_SHARE = 0.75
"""How much of its memory a process of Node.js may fill with objects of JavaScript; buffers need some too."""

_NAMES = {"python": "Python", "node": "Node.js"}


class NoRuntimeError(Exception):
    """There is nothing that the code could be run by; the text says so."""


@dataclass(frozen=True, slots=True)
class Runtimes:
    """What there is to run code by."""

    python: str
    """The Python interpreter."""
    node: str
    """The Node.js program."""
    endpoint: str
    """Where functions reach the API."""
    memory_bytes: int
    """How much memory each process of a function may have."""

    @classmethod
    def from_settings(cls, settings: Settings) -> "Runtimes":
        """Return what the settings name."""
        return cls(
            python=settings.functions_python or sys.executable,
            node=settings.functions_node,
            endpoint=settings.functions_endpoint or f"http://127.0.0.1:{settings.port}/v1",
            memory_bytes=settings.functions_memory_bytes,
        )

    def command(self, runtime: str, entrypoint: str, code: Path, descriptor: int) -> tuple[str, ...]:
        """Return the command line that serves calls.

        Args:
            runtime: what the function asks for, such as ``node-22``.
            entrypoint: the file to run.
            code: the folder that it is in.
            descriptor: the socket that calls come by.

        Raises:
            NoRuntimeError: there is no such runtime.
        """
        match runtime.partition("-")[0]:
            case "python":
                program = [self.python, str(_SHIMS / "python_runtime.py")]
            case "node":
                heap_mb = int(self.memory_bytes * _OLD_SPACE_SHARE) >> 20
                program = [self.node, f"--max-old-space-size={heap_mb}", str(_SHIMS / "node_runtime.mjs")]
            case _:
                raise NoRuntimeError(
                    f"The function was not run: this server runs Python and Node.js, not {runtime}."
                )
        return (*program, str(descriptor), str(code), entrypoint)

    def environment(self, call: Call, variables: Mapping[str, str], folder: Path) -> dict[str, str]:
        """Return the whole environment of the processes of a function: nothing of this process's own but the path.

        Args:
            call: any call of the function.
            variables: those of the function. They may replace everything but what says who the function is.
            folder: of the deployment, with the folders ``home`` and ``packages``.
        """
        key, _, version = call.code.runtime.partition("-")
        packages = str(folder / "packages")
        own = {
            # That of the interpreter first: `pip` and `python` in commands are to be its own.
            "PATH": os.pathsep.join((str(Path(self.python).parent), _path())),
            "HOME": str(folder / "home"),
            "LANG": "C.UTF-8",
            # Where pip installs to, and Python finds it.
            "PIP_TARGET": packages,
            "PYTHONPATH": packages,
        }
        identity = {
            "APPWRITE_FUNCTION_API_ENDPOINT": self.endpoint,
            "APPWRITE_FUNCTION_DEPLOYMENT": call.code.deployment_id,
            "APPWRITE_FUNCTION_ID": call.code.function_id,
            "APPWRITE_FUNCTION_NAME": call.code.name,
            "APPWRITE_FUNCTION_PROJECT_ID": call.project_id,
            "APPWRITE_FUNCTION_RUNTIME_NAME": _NAMES.get(key, key),
            "APPWRITE_FUNCTION_RUNTIME_VERSION": version,
            "APPWRITE_VERSION": __version__,
        }
        return own | dict(variables) | identity


def _path() -> str:
    return os.environ.get("PATH", os.defpath)
