"""Looking through the archive of a deployment, without unpacking it, before it is accepted.

Whoever runs the code unpacks it later. By then it is known to be a tar.gz whose members stay within one folder, and
which is no larger inside than may be. What is read into memory is bounded, whatever the archive claims: a few bytes of
gzip may stand for gigabytes.
"""

import gzip
import tarfile
import zlib
from typing import IO, Any

MAX_MEMBERS = 20_000
"""How many files and folders an archive may have."""

MAX_UNPACKED_BYTES = 1_000_000_000
"""How large an archive may be when it is unpacked."""

_MAX_HEADER_BYTES = 32_000_000
"""How much of an archive may be headers, which are read into memory one at a time."""

_MAX_HEADER_READ = 1_048_576
_SKIP_BYTES = 262_144

_FOLDER = "/function"
"""Where the archive would be unpacked; nothing is looked up or written there."""


class InvalidArchiveError(ValueError):
    """The archive is not accepted; the text says why."""


class _Unpacked:
    """The bytes of a gzip file, for :class:`tarfile.TarFile`: goes forward only, and not without end."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = gzip.GzipFile(fileobj=source, mode="rb")
        self._position = 0
        self._read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes, which are those of headers."""
        self._read_bytes += max(size, 0)
        if not 0 <= size <= _MAX_HEADER_READ or self._read_bytes > _MAX_HEADER_BYTES:
            raise InvalidArchiveError("its headers are too large.")
        data = self._source.read(size)
        self._position += len(data)
        return data

    def seek(self, position: int, whence: int = 0) -> int:
        """Skip what a file contains, up to ``position``."""
        if whence != 0 or position < self._position:
            raise InvalidArchiveError("it cannot be read from front to back.")
        if position > MAX_UNPACKED_BYTES:
            raise InvalidArchiveError(f"it is larger than {MAX_UNPACKED_BYTES} bytes when it is unpacked.")
        while self._position < position:
            skipped = len(self._source.read(min(_SKIP_BYTES, position - self._position)))
            if not skipped:
                raise InvalidArchiveError("it ends too early.")
            self._position += skipped
        return position

    def skip_rest(self) -> None:
        """Go to the end, which gzip's check sum is behind. What follows an archive in its file is padding."""
        while skipped := len(self._source.read(_SKIP_BYTES)):
            self._position += skipped
            if self._position > MAX_UNPACKED_BYTES:
                raise InvalidArchiveError(
                    f"it is larger than {MAX_UNPACKED_BYTES} bytes when it is unpacked."
                )

    def tell(self) -> int:
        """Return how far it is read."""
        return self._position


def check_archive(source: IO[bytes]) -> None:
    """Look through an archive, from where ``source`` stands. Takes as long as unpacking it; for a thread.

    Raises:
        InvalidArchiveError: it is no tar.gz, is damaged, empty or too large, or has members that lead out of it or are
            neither files, folders nor links.
    """
    unpacked: Any = _Unpacked(source)
    count = 0
    try:
        # Plain tar: the file object above undoes the compression.
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            while (member := archive.next()) is not None:
                count += 1
                _check_member(member, count)
                # Kept for random access otherwise.
                archive.members = []  # type: ignore[attr-defined]
        unpacked.skip_rest()
    except tarfile.FilterError as error:
        raise InvalidArchiveError(f"its member {error.tarinfo.name[:100]!r} leads out of it.") from error
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InvalidArchiveError):
            raise
        raise InvalidArchiveError("it is no tar.gz, or is damaged.") from error
    if not count:
        raise InvalidArchiveError("it is empty.")


def _check_member(member: tarfile.TarInfo, count: int) -> None:
    if count > MAX_MEMBERS:
        raise InvalidArchiveError(f"it has more than {MAX_MEMBERS} members.")
    if member.name.startswith(("/", "\\")) or "\0" in member.name:
        raise InvalidArchiveError(f"its member {member.name[:100]!r} leads out of it.")
    tarfile.data_filter(member, _FOLDER)
