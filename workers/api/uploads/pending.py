"""Uploads that are not complete: which parts of a file are stored, in SQL, so that any process can go on with it.

::

    async with receive_upload(request, max_bytes=bucket["max_file_bytes"]) as received:
        stored = await store_upload(services, slot, received, details={"name": received.file_name})
    async with services.store.write(project) as tx:
        if stored.is_complete and await finish_upload(tx, stored):
            ...  # insert the resource with stored.key, emit its event

Bytes are written outside of transactions. Whatever fails in between, the same request can be made again; what nobody
goes on with is swept (:mod:`workers.files.discards`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import RowMapping, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import Project
from workers.api.problems import Problem, refuse
from workers.api.services import Services
from workers.api.uploads.ranges import InvalidRangeError, Layout, Parts
from workers.api.uploads.receiving import Received
from workers.files.store import MAX_PARTS, MissingFileError, new_key
from workers.store.discarded import discard_file, discard_rows
from workers.store.store import Transaction
from workers.store.tables import uploads

Kind = Literal["file", "deployment"]
"""What can be uploaded."""

MAX_OPEN = 100
"""How many uploads in chunks one user may have begun and not completed, or all guests of one address."""

_TRIES = 3
"""How often an upload is begun when others begin one of the same slot at the same moment."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What an upload is for; there is one upload for each at a time."""

    project: Project
    kind: Kind
    resource_id: str
    """IDs with slashes between: ``<bucket>/<file>``."""
    owner_id: str = ""
    """The user who uploads; empty for guests and API keys. Nobody else can go on."""
    counted_for: str = ""
    """Whose uploads it counts among, of which :data:`MAX_OPEN` may be incomplete; empty for as many as they like."""
    takes_over: bool = False
    """Whether it may begin in the place of somebody else's."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How far an upload is."""

    upload_seq: int
    key: str
    """Where the bytes are, when it is complete."""
    total_bytes: int
    chunks_total: int
    chunks_uploaded: int
    chunks_in_order: int
    """How many of them come before the first that is missing."""
    details: Mapping[str, Any]
    """What the first request said of the resource."""
    owner_id: str
    """Whoever began it, as its slot said."""
    created_at: str

    @property
    def is_complete(self) -> bool:
        """Whether all parts are stored; the bytes can then be read."""
        return self.chunks_uploaded == self.chunks_total


async def store_upload(
    services: Services, slot: Slot, received: Received, *, details: Mapping[str, Any]
) -> Stored:
    """Store what a request brought, and return how far the upload is then.

    A file in one piece begins anew, and takes the place of an upload of the same slot. The first chunk begins an
    upload, or repeats that of one with the same sizes; others add to it, in any order and at once. Either may begin in
    the place of somebody else's, if the slot says so.

    Args:
        services: what keeps the bytes, and what is known of them.
        slot: what the upload is for. Its resource does not exist yet.
        received: the chunk or the whole file.
        details: what the resource will be made of, if this request begins the upload; otherwise what the one said
            that did is in the result.

    Raises:
        ApiError: 400, the range does not fit the upload, or there is none (``storage_invalid_appwrite_id``), perhaps
            not any more; 409, it is somebody else's; 429, too many are not complete.
        OSError: the file store fails.
    """
    row = await _open_at_once(services, slot, received, details)
    if not row["token"]:
        return await _store_whole(services, slot, row, received)
    stored = _stored(await _add(services, slot, row, received))
    if stored.is_complete:
        try:
            await services.files.complete(stored.key, row["token"], stored.total_bytes)
        except MissingFileError as error:
            raise refuse(Problem.UPLOAD_NOT_FOUND) from error
    return stored


async def finish_upload(tx: Transaction, stored: Stored) -> bool:
    """Forget the upload, in the transaction that makes the resource of it.

    Returns:
        False when somebody else did it before, by the same request made twice, or the upload was given up. Then the
        resource must not be made.
    """
    deleted = await tx.connection.execute(
        delete(uploads).where(
            uploads.c.project_id == tx.project.id,
            uploads.c.seq == stored.upload_seq,
            uploads.c.storage_key == stored.key,
        )
    )
    return deleted.rowcount == 1


async def drop_upload(tx: Transaction, slot: Slot) -> bool:
    """Give an upload up, whoever began it, and have its parts removed; return False when there is none."""
    return await discard_rows(tx.connection, uploads, tx.now, *_of(slot)) > 0


async def find_upload(connection: AsyncConnection, slot: Slot) -> Stored | None:
    """Return how far an upload is, whoever began it; None when there is none."""
    row = await _find(connection, slot)
    return None if row is None else _stored(row)


def _of(slot: Slot) -> tuple[Any, ...]:
    return (
        uploads.c.project_id == slot.project.id,
        uploads.c.kind == slot.kind,
        uploads.c.resource_id == slot.resource_id,
    )


def _stored(row: RowMapping) -> Stored:
    parts = Parts.parse(row["parts"])
    return Stored(
        upload_seq=row["seq"],
        key=row["storage_key"],
        total_bytes=row["total_bytes"],
        chunks_total=Layout(row["total_bytes"], row["chunk_bytes"]).count,
        chunks_uploaded=len(parts),
        chunks_in_order=parts.in_order,
        details=row["details"],
        owner_id=row["owner_id"],
        created_at=row["created_at"],
    )


async def _find(connection: AsyncConnection, slot: Slot, *, lock: bool = False) -> RowMapping | None:
    statement = select(uploads).where(*_of(slot))
    found = await connection.execute(statement.with_for_update() if lock else statement)
    return found.mappings().one_or_none()


async def _open(services: Services, slot: Slot, received: Received, details: Mapping[str, Any]) -> RowMapping:
    """Return the row of the upload that the request belongs to; begin one if this is its first."""
    if not received.range.is_whole:
        async with services.store.read() as connection:
            row = await _find(connection, slot)
        if row is not None and not _makes_way(slot, row) and row["token"]:
            return row
        if received.range.start != 0:
            raise refuse(Problem.UPLOAD_NOT_FOUND)
    return await _begin(services, slot, received, details)


def _makes_way(slot: Slot, row: RowMapping) -> bool:
    """Tell whether an upload must end because of whose it is, and that the slot's begins in its place.

    Raises:
        ApiError: 409, it is somebody else's and stays.
    """
    if row["owner_id"] == slot.owner_id:
        return False
    if not slot.takes_over:
        raise refuse(Problem.FILE_EXISTS)
    return True


async def _open_at_once(
    services: Services, slot: Slot, received: Received, details: Mapping[str, Any]
) -> RowMapping:
    """As :func:`_open`, also if other requests begin an upload of the slot at the same moment.

    Raises:
        ApiError: 409, they do so again and again.
    """
    for _ in range(_TRIES):
        try:
            return await _open(services, slot, received, details)
        except IntegrityError:
            continue
    raise refuse(Problem.FILE_EXISTS)


async def _begin(
    services: Services, slot: Slot, received: Received, details: Mapping[str, Any]
) -> RowMapping:
    layout = Layout.of_first(received.range)
    key = new_key(slot.project.id, slot.kind, *slot.resource_id.split("/"))
    token = ""
    if layout.count > 1:
        _check_layout(services, layout)
        token = await services.files.begin(key, layout.total_bytes)
    try:
        row = await _insert(services, slot, layout, key=key, token=token, details=details)
    except BaseException:
        await services.files.abort(key, token)
        raise
    if row["storage_key"] != key:
        await services.files.abort(key, token)
    return row


async def _insert(
    services: Services, slot: Slot, layout: Layout, *, key: str, token: str, details: Mapping[str, Any]
) -> RowMapping:
    """Return the row of a new upload, or that of one in parts which began meanwhile."""
    async with services.store.write(slot.project) as tx:
        row = await _find(tx.connection, slot, lock=True)
        if row is not None:
            if not _makes_way(slot, row) and row["token"] and token:
                return row
            await discard_rows(tx.connection, uploads, tx.now, uploads.c.seq == row["seq"])
        if token:
            await _check_count(tx.connection, slot)
        inserted = await tx.connection.execute(
            insert(uploads)
            .values(
                project_id=slot.project.id,
                kind=slot.kind,
                resource_id=slot.resource_id,
                owner_id=slot.owner_id,
                counted_for=slot.counted_for,
                storage_key=key,
                token=token,
                total_bytes=layout.total_bytes,
                chunk_bytes=layout.chunk_bytes,
                parts="",
                details=dict(details),
                created_at=tx.now_text,
                updated_at=tx.now_text,
            )
            .returning(*uploads.c)
        )
        return inserted.mappings().one()


async def _check_count(connection: AsyncConnection, slot: Slot) -> None:
    """Refuse to begin one more in chunks. Several that begin at once may be a few too many."""
    if not slot.counted_for:
        return
    counted = await connection.execute(
        select(func.count()).where(
            uploads.c.project_id == slot.project.id,
            uploads.c.counted_for == slot.counted_for,
            uploads.c.token != "",
        )
    )
    if counted.scalar_one() >= MAX_OPEN:
        raise refuse(Problem.UPLOADS_LIMIT, limit=str(MAX_OPEN))


def _check_layout(services: Services, layout: Layout) -> None:
    if layout.chunk_bytes < services.files.min_part_bytes:
        raise refuse(
            Problem.CONTENT_RANGE, reason=f"Chunks must have {services.files.min_part_bytes} bytes at least."
        )
    if layout.count > MAX_PARTS:
        raise refuse(Problem.CONTENT_RANGE, reason=f"There must not be more than {MAX_PARTS} chunks.")


async def _store_whole(services: Services, slot: Slot, row: RowMapping, received: Received) -> Stored:
    """Store a file in one piece. That it is there is not recorded: if this request fails, the next begins anew."""
    await services.files.put(row["storage_key"], received.file, received.range.size_bytes)
    async with services.store.read() as connection:
        current = await _find(connection, slot)
    if current is None or current["seq"] != row["seq"]:
        # Given up meanwhile, and perhaps removed before it was there.
        async with services.store.write(slot.project) as tx:
            await discard_file(tx.connection, row["storage_key"], tx.now)
        raise refuse(Problem.UPLOAD_NOT_FOUND if current is None else Problem.FILE_EXISTS)
    return replace(_stored(row), chunks_uploaded=1, chunks_in_order=1)


async def _add(services: Services, slot: Slot, row: RowMapping, received: Received) -> RowMapping:
    """Store a part, unless all are there, and return the row of the upload with it."""
    try:
        number = Layout(row["total_bytes"], row["chunk_bytes"]).number_of(received.range)
    except InvalidRangeError as error:
        raise refuse(Problem.CONTENT_RANGE, reason=str(error)) from error
    if _stored(row).is_complete:
        return row
    try:
        await services.files.put_part(
            row["storage_key"],
            row["token"],
            number=number,
            offset=received.range.start,
            source=received.file,
            size_bytes=received.range.size_bytes,
        )
    except MissingFileError as error:
        # Perhaps another request brought this part too, and has completed the upload since.
        async with services.store.read() as connection:
            current = await _find(connection, slot)
        if current is None or current["seq"] != row["seq"] or not _stored(current).is_complete:
            raise refuse(Problem.UPLOAD_NOT_FOUND) from error
        return current
    return await _record(services, slot, row, number)


async def _record(services: Services, slot: Slot, row: RowMapping, number: int) -> RowMapping:
    """Take note that a part is stored. Locks the upload for that only, so that parts do not wait for each other."""
    async with services.store.write(slot.project) as tx:
        current = await _find(tx.connection, slot, lock=True)
        if current is None or current["seq"] != row["seq"]:
            # Given up meanwhile. No part came after that: they are refused then.
            raise refuse(Problem.UPLOAD_NOT_FOUND)
        parts = Parts.parse(current["parts"])
        if number in parts:
            # Nothing new, so the upload goes on pausing.
            return current
        changed = await tx.connection.execute(
            update(uploads)
            .where(uploads.c.seq == row["seq"])
            .values(parts=str(parts.with_part(number)), updated_at=tx.now_text)
            .returning(*uploads.c)
        )
        return changed.mappings().one()
