"""Rows' SQL tables, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.queries import Query
from realtime.settings import Settings
from workers.store.conditions import conditions_of
from workers.store.database import Database, open_database
from workers.store.fields import Field
from workers.store.row_tables import (
    add_row_column,
    create_row_index,
    create_row_tables,
    drop_row_column,
    drop_row_index,
    drop_row_tables,
    perms_table,
    rows_table,
)
from workers.store.schema import Column, ColumnType, Index, IndexType, Schema, TableRecord

NOW = "2026-01-02T03:04:05.678+00:00"


def column(number: int, column_type: ColumnType, *, array: bool = False) -> Column:
    return Column(
        number=number, key=f"k{number}", type=column_type, created_at=NOW, updated_at=NOW, array=array
    )


def index(number: int, index_type: IndexType, *keys: str, lengths: tuple[int, ...] = ()) -> Index:
    return Index(
        number=number, key=f"i{number}", type=index_type, columns=keys, created_at=NOW, updated_at=NOW, lengths=lengths
    )  # fmt: skip


def record(*columns: Column, indexes: tuple[Index, ...] = ()) -> TableRecord:
    return TableRecord(
        seq=7,
        id="posts",
        name="Posts",
        database_id="main",
        database_type="tablesdb",
        table_enabled=True,
        database_enabled=True,
        row_security=False,
        permissions=(),
        created_at=NOW,
        updated_at=NOW,
        schema=Schema(columns=columns, indexes=indexes),
    )


@pytest.fixture
async def database(database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    database = open_database(Settings(database_url=database_url, data_dir=tmp_path))
    yield database
    await database.aclose()


async def insert(connection: AsyncConnection, table: TableRecord, row_id: str, **values: object) -> int:
    rows = rows_table(table)
    statement = rows.insert().values(
        id=row_id, permissions=[], created_at=NOW, updated_at=NOW, **values
    )  # fmt: skip
    seq: int = (await connection.execute(statement.returning(rows.c.seq))).scalar_one()
    return seq


class TestRowsTable:
    def test_same_columns_give_the_same_table(self) -> None:
        assert rows_table(record(column(1, "string"))) is rows_table(record(column(1, "string")))

    def test_another_column_gives_another_table(self) -> None:
        assert set(rows_table(record(column(1, "string"))).c.keys()) ^ set(
            rows_table(record(column(1, "string"), column(4, "string"))).c.keys()
        ) == {"c4"}


class TestCreateRowTables:
    async def test_every_type_keeps_its_values(self, database: Database) -> None:
        values = {
            "c1": "Grüße 🙂",
            "c2": -(2**63),
            "c3": 0.1,
            "c4": True,
            "c5": NOW,
            "c6": ["a", None],
            "c7": [1.5, 2],
            "c8": "another",
        }
        table = record(
            column(1, "string"),
            column(2, "integer"),
            column(3, "double"),
            column(4, "boolean"),
            column(5, "datetime"),
            column(6, "string", array=True),
            column(7, "point"),
            column(8, "relationship"),
        )
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one", **values)
            found = (await connection.execute(sa.select(rows_table(table)))).mappings().one()
        assert {name: found[name] for name in values} == values

    async def test_values_that_are_not_given_are_null(self, database: Database) -> None:
        table = record(column(1, "string"), column(2, "string", array=True))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one", c2=None)
            c = rows_table(table).c
            found = await connection.execute(sa.select(sa.func.count()).where(c.c1.is_(None), c.c2.is_(None)))
            assert found.scalar_one() == 1

    async def test_text_sorts_by_code_points(self, database: Database) -> None:
        table = record(column(1, "string"))
        words = ["b", "a", "B", "_", "é", "z", "Z", "🙂", "\uff5a"]
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            for number, word in enumerate(words):
                await insert(connection, table, str(number), c1=word)
            text = rows_table(table).c.c1
            found = (await connection.execute(sa.select(text).order_by(text))).scalars().all()
        assert found == sorted(words)

    async def test_row_id_is_unique(self, database: Database) -> None:
        table = record()
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one")
            with pytest.raises(IntegrityError):
                await insert(connection, table, "one")

    async def test_numbers_are_not_used_twice(self, database: Database) -> None:
        table = record()
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            first = await insert(connection, table, "one")
            await connection.execute(rows_table(table).delete())
            assert await insert(connection, table, "one") > first

    async def test_permission_stands_once(self, database: Database) -> None:
        table = record()
        perms = perms_table(table)
        values = {"row_seq": 1, "action": "read", "role": "any"}
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            with pytest.raises(IntegrityError):
                await connection.execute(perms.insert(), [values, values])

    async def test_failed_transaction_leaves_no_table(self, database: Database) -> None:
        table = record(column(1, "string"))
        async with database.engine.connect() as connection:
            await create_row_tables(connection, table)
            await connection.rollback()
            # It could not be made if it were there.
            await create_row_tables(connection, table)


class TestDropRowTables:
    async def test_both_are_gone(self, database: Database) -> None:
        table = record(column(1, "string"))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await drop_row_tables(connection, [table.seq])
        for gone in (rows_table(table), perms_table(table)):
            with pytest.raises(DBAPIError):
                async with database.reading() as connection:
                    await connection.execute(sa.select(gone))


class TestAlterRowTables:
    async def test_added_column_is_null_in_old_rows(self, database: Database) -> None:
        before = record(column(1, "string"))
        after = record(column(1, "string"), column(2, "string"))
        async with database.writing() as connection:
            await create_row_tables(connection, before)
            await insert(connection, before, "old", c1="x")
        async with database.writing() as connection:
            await add_row_column(connection, after, after.schema.columns[1])
            await insert(connection, after, "new", c2="y")
            c = rows_table(after).c
            found = await connection.execute(sa.select(c.c1, c.c2).order_by(c.seq))
            assert [tuple(row) for row in found] == [("x", None), (None, "y")]

    async def test_dropped_column_takes_its_values_along(self, database: Database) -> None:
        before = record(column(1, "string"), column(2, "string"))
        async with database.writing() as connection:
            await create_row_tables(connection, before)
            await insert(connection, before, "old", c1="x", c2="y")
            await drop_row_column(connection, before, before.schema.columns[0])
            after = record(column(2, "string"))
            found = (await connection.execute(sa.select(rows_table(after)))).mappings().one()
        assert found["c2"] == "y"
        assert "c1" not in found

    async def test_statements_prepared_before_a_change_still_work(self, database: Database) -> None:
        before = record(column(1, "string"))
        async with database.writing() as connection:
            await create_row_tables(connection, before)
        async with database.engine.connect() as reader:
            statement = sa.select(rows_table(before))
            await reader.execute(statement)
            await reader.rollback()
            async with database.writing() as connection:
                await add_row_column(connection, before, column(2, "integer"))
                await insert(connection, before, "one", c1="x")
            assert (await reader.execute(statement)).mappings().one()["c1"] == "x"


class TestCreateRowIndex:
    async def test_unique_index_refuses_equal_rows(self, database: Database) -> None:
        unique = index(2, "unique", "k1")
        table = record(column(1, "string"), indexes=(unique,))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one", c1="x")
            with pytest.raises(IntegrityError):
                await insert(connection, table, "two", c1="x")

    async def test_unique_index_passes_over_nulls(self, database: Database) -> None:
        table = record(column(1, "string"), indexes=(index(2, "unique", "k1"),))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one")
            await insert(connection, table, "two")

    async def test_unique_index_with_a_length_compares_beginnings(self, database: Database) -> None:
        table = record(column(1, "text"), indexes=(index(2, "unique", "k1", lengths=(3,)),))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one", c1="abcd")
            await insert(connection, table, "two", c1="abdd")
        with pytest.raises(IntegrityError):
            async with database.writing() as connection:
                await insert(connection, table, "three", c1="abcX")

    async def test_unique_index_on_equal_rows_fails(self, database: Database) -> None:
        table = record(column(1, "string"))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one", c1="x")
            await insert(connection, table, "two", c1="x")
        with pytest.raises(IntegrityError):
            async with database.writing() as connection:
                await create_row_index(connection, table, index(2, "unique", "k1"))

    @pytest.mark.parametrize("orders", [(), ("DESC", "DESC")])
    async def test_lists_in_its_order_are_not_sorted(
        self, database: Database, orders: tuple[str, ...]
    ) -> None:
        made = Index(
            number=2,
            key="i",
            type="key",
            columns=("k1", "$createdAt"),
            created_at=NOW,
            updated_at=NOW,
            orders=orders,
        )
        table = record(column(1, "string"), indexes=(made,))
        c = rows_table(table).c
        wanted = sa.select(c.id).order_by(c.c1.asc().nulls_first(), c.created_at, c.seq).limit(25)
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
            if not database.is_sqlite:
                # With next to no rows, it would rather read them all.
                await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
                await connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
            text = wanted.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            plan = str((await connection.exec_driver_sql(f"{explain} {text}")).all())
        assert "rows_7_i2" in plan
        assert "Sort" not in plan
        assert "TEMP B-TREE" not in plan

    # SQLite has no index for what is in JSON.
    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    async def test_arrays_are_looked_into_by_the_index(self, database: Database) -> None:
        table = record(column(1, "string", array=True), indexes=(index(2, "key", "k1"),))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            plan = await connection.exec_driver_sql("EXPLAIN SELECT id FROM rows_7 WHERE c1 @> '[\"a\"]'")
            assert "rows_7_i2" in str(plan.all())

    @pytest.mark.parametrize(
        ("index_type", "keys"),
        [
            ("key", ("k1", "$createdAt")),
            ("key", ("$id",)),
            ("key", ("k2",)),
            ("fulltext", ("k1",)),
        ],
    )
    async def test_index_comes_and_goes(
        self, database: Database, index_type: IndexType, keys: tuple[str, ...]
    ) -> None:
        made = index(3, index_type, *keys)
        table = record(column(1, "string"), column(2, "string", array=True))
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await create_row_index(connection, table, made)
            await insert(connection, table, "one", c1="x", c2=["y"])
            await drop_row_index(connection, table, made)
            await create_row_index(connection, table, made)


class TestFulltextIndex:
    async def test_a_search_is_served_by_the_index_in_postgresql(self, database: Database) -> None:
        table = record(column(1, "string"), indexes=(index(2, "fulltext", "k1"),))
        rows = rows_table(table)
        fields = {"k1": Field(rows.c.c1, "string", has_word_index=True)}
        (condition,) = conditions_of([Query("search", "k1", ("needle",))], fields)
        statement = sa.select(rows.c.seq).where(condition)
        async with database.writing() as connection:
            await create_row_tables(connection, table)
            await insert(connection, table, "one", c1="A needle, and hay")
            await insert(connection, table, "two", c1="hay")
            assert list((await connection.execute(statement)).scalars()) == [1]
            if database.is_sqlite:
                return
            # There are too few rows for it to choose an index by itself.
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            text = statement.compile(dialect=connection.dialect, compile_kwargs={"literal_binds": True})
            plan = await connection.exec_driver_sql(f"EXPLAIN {text}")
            assert "Bitmap Index Scan on rows_7_i2" in "\n".join(plan.scalars())
