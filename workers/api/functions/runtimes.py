"""The languages that functions may be written in, and what of a machine they get. Pure.

Only such runtimes are offered as a server can have: those of Node.js and Python. Which of them an executor really has
is its own business; a call that it cannot run fails with that reason.
"""

from workers.models.functions import UNBOUNDED, Runtime, Specification

_VERSIONS = {
    "node": ("14.5", "16.0", "18.0", "19.0", "20.0", "21.0", "22", "23", "24", "25"),
    "python": ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"),
}
"""As the SDKs name them."""

_NAMES = {"node": "Node.js", "python": "Python"}


def _runtime(key: str, version: str) -> Runtime:
    return {
        "$id": f"{key}-{version}",
        "key": key,
        "name": _NAMES[key],
        "version": version,
        # There are no images: nothing is run in containers of its own.
        "base": "",
        "image": "",
        "logo": f"{key}.png",
        "supports": ["x86", "arm64"],
    }


RUNTIMES: dict[str, Runtime] = {
    f"{key}-{version}": _runtime(key, version) for key, versions in _VERSIONS.items() for version in versions
}
"""Every runtime, by its ID."""

SPECIFICATIONS: list[Specification] = [{"memory": 0, "cpus": 0, "enabled": True, "slug": UNBOUNDED}]
"""Every specification. There is one, which bounds nothing: how much a function gets is up to the executor."""
