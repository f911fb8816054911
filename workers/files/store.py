"""The port to where bytes are kept: files of buckets, code of deployments.

Bytes have a key, ``demo/files/<...>``, that :func:`new_key` makes and that is never used twice. They are written once,
whole or in parts, and never changed; so readers need no locks, and deleting cannot meet a later file. What the bytes
are is in SQL.
"""

import re
from collections.abc import AsyncGenerator
from typing import BinaryIO, Protocol

from workers.store.ids import new_id

MAX_PARTS = 10_000
"""How many parts an upload may have; S3 takes no more."""

BLOCK_BYTES = 262_144
"""How much is read from or written to a file at a time."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}(?:/[A-Za-z0-9][A-Za-z0-9._-]{0,254}){0,7}")


class FileStoreError(OSError):
    """Bytes cannot be kept or found; the text says why, without credentials."""


class MissingFileError(FileStoreError):
    """There is nothing of this key, or no upload of this token."""

    def __init__(self, key: str) -> None:
        super().__init__(f"Nothing is stored as {key}.")


class FileStore(Protocol):
    """Keeps bytes. Used by many tasks of one event loop, and by several processes at once.

    Every method raises :class:`ValueError` for a key that :func:`check_key` refuses, :class:`OSError` when the store
    fails or cannot be reached. A method that is cancelled has either done its work or not.
    """

    min_part_bytes: int
    """How small every part but the last may be."""

    async def put(self, key: str, source: BinaryIO, size_bytes: int) -> None:
        """Keep the first ``size_bytes`` of ``source`` as ``key``. Readers see all of it or nothing.

        When this returns, the bytes survive a loss of power.
        """

    async def begin(self, key: str, total_bytes: int) -> str:
        """Begin to receive ``key`` in parts, and return the token of this upload."""

    async def put_part(
        self, key: str, token: str, *, number: int, offset: int, source: BinaryIO, size_bytes: int
    ) -> None:
        """Keep the first ``size_bytes`` of ``source`` as part ``number`` (from 1), which begins at ``offset``.

        Parts may come in any order and at once; a part that comes again replaces itself. When this returns, the part
        survives a loss of power.

        Raises:
            MissingFileError: the upload is complete or was given up.
        """

    async def complete(self, key: str, token: str, total_bytes: int) -> None:
        """Make the file of its parts, all of which are there. Readers see all of it or nothing.

        Done again, it does nothing.

        Raises:
            MissingFileError: the upload was given up.
            FileStoreError: the sizes of the parts do not add up, as far as the store knows them.
        """

    async def abort(self, key: str, token: str) -> None:
        """Give an upload up, with the parts it has. Does nothing when there is none, as for the empty token."""

    def read(self, key: str, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Iterate over the bytes from ``start`` up to ``end``, exclusive, in blocks of a bounded size.

        Whoever stops early closes the iterator (``aclose``).

        Raises:
            MissingFileError: at the first block, if there is nothing of this key.
        """

    async def copy(self, source: str, key: str) -> None:
        """Keep the bytes of ``source`` as ``key`` too.

        Raises:
            MissingFileError: there is nothing of the key ``source``.
        """

    async def delete(self, key: str) -> None:
        """Forget the bytes of ``key``. Does nothing when there are none."""

    async def unfinished(self, older_than_s: float) -> list[tuple[str, str]]:
        """Return key and token of each upload in which nothing happened for so long, whether it is recorded or not.

        A process that was killed may have left some of which nothing is recorded. The key is empty if :meth:`abort`
        does without.
        """

    async def check(self) -> None:
        """Find out whether bytes could be kept now, for health checks."""

    async def aclose(self) -> None:
        """Close connections. The store is of no use afterwards."""


def new_key(*parts: str) -> str:
    """Return a key that was never used, made of ``parts``: IDs, the project's first, such as ``demo``, ``file``.

    Raises:
        ValueError: a part is no ID.
    """
    return check_key(f"{'/'.join(parts)}-{new_id()}")


def check_key(key: str) -> str:
    """Return ``key``, which consists of IDs and slashes only, so that it never leaves the root of a store.

    Raises:
        ValueError: it does not.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key of a file.")
    return key
