"""The board's database, with the table of its cards, and the bucket of their pictures."""

import msgspec
from sqlalchemy import Table, insert, select

from realtime.identity.model import Project
from workers.store import tables
from workers.store.row_tables import create_row_tables
from workers.store.schema import Column, Index, Schema, TableRecord, encode_schema
from workers.store.store import Store, Transaction

BOARD = "board"
CARDS = "cards"
PICTURES = "board-pictures"

MAX_PICTURE_BYTES = 5_000_000


async def seed_board(store: Store, project_id: str) -> None:
    """Make the board's database, table and bucket in a project, unless they are there.

    There are no events of it: it is done before the server is open.
    """
    async with store.write(Project(id=project_id)) as tx:
        if not await _exists(tx, tables.databases, BOARD):
            await _make_board(tx)
        if not await _exists(tx, tables.buckets, PICTURES):
            await _make_bucket(tx)


async def _exists(tx: Transaction, table: Table, resource_id: str) -> bool:
    found = await tx.connection.execute(
        select(table.c.id).where(table.c.project_id == tx.project.id, table.c.id == resource_id)
    )
    return found.first() is not None


async def _make_bucket(tx: Transaction) -> None:
    await tx.connection.execute(
        insert(tables.buckets).values(
            project_id=tx.project.id,
            id=PICTURES,
            name="Pictures of the board",
            # The picture of a card is the file of its ID, if whoever made the card may delete it.
            file_security=True,
            permissions=['create("users")'],
            max_file_bytes=MAX_PICTURE_BYTES,
            extensions=["gif", "jpg", "png", "webp"],
            created_at=tx.now_text,
            updated_at=tx.now_text,
        )
    )


async def _make_board(tx: Transaction) -> None:
    record = TableRecord(
        seq=0,
        id=CARDS,
        name="Cards",
        database_id=BOARD,
        database_type="tablesdb",
        table_enabled=True,
        database_enabled=True,
        row_security=True,
        # Whoever is logged in adds cards; the permissions of a card say who reads, changes and deletes it.
        permissions=('create("users")',),
        created_at=tx.now_text,
        updated_at=tx.now_text,
        schema=_schema(tx.now_text),
    )
    common = {"project_id": tx.project.id, "created_at": tx.now_text, "updated_at": tx.now_text}
    await tx.connection.execute(
        insert(tables.databases).values(id=BOARD, name="Board", type="tablesdb", **common)
    )
    made = await tx.connection.execute(
        insert(tables.tables)
        .values(
            database_id=BOARD,
            id=record.id,
            name=record.name,
            row_security=record.row_security,
            permissions=list(record.permissions),
            schema=encode_schema(record.schema),
            **common,
        )
        .returning(tables.tables.c.seq)
    )
    await create_row_tables(tx.connection, msgspec.structs.replace(record, seq=made.scalar_one()))


def _schema(now: str) -> Schema:
    """Return what a card holds. ``by`` and ``changedBy`` are names that people gave themselves."""

    def column(number: int, key: str, **rules: object) -> Column:
        return msgspec.convert(
            {"number": number, "key": key, "created_at": now, "updated_at": now, "required": True, **rules},
            Column,
        )

    columns = (
        column(1, "title", type="string", size=200),
        column(2, "column", type="string", size=255, format="enum", elements=["todo", "doing", "done"]),
        column(3, "position", type="double"),
        column(4, "by", type="string", size=128),
        column(5, "changedBy", type="string", size=128),
    )
    index = Index(number=6, key="position", type="key", columns=("position",), created_at=now, updated_at=now)
    return Schema(columns=columns, indexes=(index,), last_number=6)
