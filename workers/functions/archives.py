"""Looking through the archive of a deployment, without unpacking it, before it is accepted.

Whoever runs the code unpacks it later. By then it is known to be a tar.gz whose members stay within one folder, and
which is no larger inside than may be. What is read into memory is bounded, whatever the archive claims: a few bytes of
gzip may stand for gigabytes.
"""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, Any

MAX_MEMBERS = 20_000
"""How many files and folders an archive may have."""

MAX_UNPACKED_BYTES = 1_000_000_000
"""How large an archive may be when it is unpacked."""

MAX_PATH_CHARS = 4_096
MAX_DEPTH = 100
"""How long the name of a member, or the target of a link, may be, and how many folders deep."""

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
            raise _too_large()
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
                raise _too_large()

    def tell(self) -> int:
        """Return how far it is read."""
        return self._position


class _Tree:
    """What an archive unpacks to, by the names of its members alone.

    Nothing is unpacked, so where a path leads is known only if no symbolic link is on its way: neither ``..`` nor a
    name says what it seems to behind one, and the link may come after whatever leads through it.
    """

    def __init__(self) -> None:
        self._size_bytes = 0
        self._count = 0
        self._links: set[str] = set()
        # The member, the folder its path begins in, the path, and whether it may itself be a link.
        self._paths: list[tuple[str, list[str], str, bool]] = []

    def add(self, member: tarfile.TarInfo) -> None:
        """Take note of a member. Raises :class:`InvalidArchiveError` if it is not accepted, whatever the others are."""
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise InvalidArchiveError(f"it has more than {MAX_MEMBERS} members.")
        if member.name.startswith(("/", "\\")) or "\0" in member.name:
            raise _leads_out(member.name)
        for path in (member.name, member.linkname):
            if len(path) > MAX_PATH_CHARS or path.count("/") > MAX_DEPTH:
                raise InvalidArchiveError(f"the path {path[:100]!r} in it is too long.")
        self._add_size(member)
        tarfile.data_filter(member, _FOLDER)
        self._add_paths(member)

    def _add_size(self, member: tarfile.TarInfo) -> None:
        # Of a sparse file, a few bytes are stored, and any number of them unpacked.
        if member.issparse() or any(name.startswith("GNU.sparse.") for name in member.pax_headers):
            raise InvalidArchiveError(f"its member {member.name[:100]!r} is a sparse file.")
        if member.size < 0:
            raise InvalidArchiveError("it is damaged.")
        self._size_bytes += member.size
        if self._size_bytes > MAX_UNPACKED_BYTES:
            raise _too_large()

    def _add_paths(self, member: tarfile.TarInfo) -> None:
        place = list(_places(member.name, [], member.name))
        self._paths.append((member.name, [], member.name, True))
        if member.issym():
            if not place or not place[-1]:
                raise _leads_out(member.name)
            self._links.add(place[-1])
            self._paths.append((member.name, place[-1].split("/")[:-1], member.linkname, True))
        elif member.islnk():
            # A second name of a link would be a link that is somewhere else.
            self._paths.append((member.name, [], member.linkname, False))

    def check(self) -> None:
        """Check that there are members, and that all stay within the archive, or raise :class:`InvalidArchiveError`."""
        if not self._count:
            raise InvalidArchiveError("it is empty.")
        for name, folder, path, may_be_link in self._paths:
            places = list(_places(name, folder, path))
            passed = places[:-1] if may_be_link else places
            if not self._links.isdisjoint(passed):
                raise InvalidArchiveError(f"its member {name[:100]!r} leads through a link.")


def _places(name: str, folder: list[str], path: str) -> Iterator[str]:
    """Return where one comes by on the way from ``folder`` along ``path``, if there are no links.

    Raises:
        InvalidArchiveError: the path, which is one of the member ``name``, leads out of the archive.
    """
    parts = list(folder)
    for part in path.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            raise _leads_out(name)
        yield "/".join(parts)


def _leads_out(name: str) -> InvalidArchiveError:
    return InvalidArchiveError(f"its member {name[:100]!r} leads out of it.")


def _too_large() -> InvalidArchiveError:
    return InvalidArchiveError(f"it is larger than {MAX_UNPACKED_BYTES} bytes when it is unpacked.")


def check_archive(source: IO[bytes]) -> None:
    """Look through an archive, from where ``source`` stands. Takes as long as unpacking it; for a thread.

    Raises:
        InvalidArchiveError: it is no tar.gz, is damaged, empty or too large, or has members that lead out of it or are
            neither files, folders nor links; sparse files are not accepted either.
    """
    unpacked: Any = _Unpacked(source)
    tree = _Tree()
    try:
        # Plain tar: the file object above undoes the compression.
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            while (member := archive.next()) is not None:
                tree.add(member)
                # Kept for random access otherwise.
                archive.members = []  # type: ignore[attr-defined]
        unpacked.skip_rest()
        tree.check()
    except tarfile.FilterError as error:
        raise _leads_out(error.tarinfo.name) from error
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        if isinstance(error, InvalidArchiveError):
            raise
        raise InvalidArchiveError("it is no tar.gz, or is damaged.") from error
