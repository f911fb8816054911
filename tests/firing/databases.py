"""How events of databases are fired, in both vocabularies."""

from typing import Any, NamedTuple

from tests.firing.world import Case, Fired, World


class Vocabulary(NamedTuple):
    """One way of naming what is in databases, and how its events are fired."""

    path: str
    table: str
    row: str
    column: str

    async def database(self, world: World) -> Fired:
        database_id = world.new_id()
        database = await world.ask("POST", self.path, {"databaseId": database_id, "name": "Main"})
        return Fired({"databaseId": database_id}, database)

    async def table_in(self, world: World) -> Fired:
        ids = {
            "databaseId": (await self.database(world)).ids["databaseId"],
            f"{self.table}Id": world.new_id(),
        }
        body = {f"{self.table}Id": ids[f"{self.table}Id"], "name": "Posts", "permissions": ['read("users")']}
        return Fired(ids, await world.ask("POST", self._tables(ids), body))

    async def column_in(self, world: World) -> Fired:
        ids = (await self.table_in(world)).ids
        body = {"key": "title", "size": 100, "required": False}
        column = await world.ask("POST", f"{self._table(ids)}/{self.column}s/string", body)
        return Fired(ids, column)

    async def index_in(self, world: World) -> Fired:
        ids = (await self.column_in(world)).ids
        body = {"key": "by_title", "type": "key", f"{self.column}s": ["title"]}
        return Fired(ids, await world.ask("POST", f"{self._table(ids)}/indexes", body))

    async def row_in(self, world: World) -> Fired:
        ids = (await self.column_in(world)).ids | {f"{self.row}Id": world.new_id()}
        body = {f"{self.row}Id": ids[f"{self.row}Id"], "data": {"title": "a"}}
        return Fired(ids, await world.ask("POST", f"{self._table(ids)}/{self.row}s", body))

    def _tables(self, ids: dict[str, str]) -> str:
        return f"{self.path}/{ids['databaseId']}/{self.table}s"

    def _table(self, ids: dict[str, str]) -> str:
        return f"{self._tables(ids)}/{ids[f'{self.table}Id']}"

    def _path(self, ids: dict[str, str], kind: str) -> str:
        paths = {
            "database": f"{self.path}/{ids['databaseId']}",
            "table": self._table(ids) if f"{self.table}Id" in ids else "",
            "column": f"{self._table(ids)}/{self.column}s/title" if f"{self.table}Id" in ids else "",
            "index": f"{self._table(ids)}/indexes/by_title" if f"{self.table}Id" in ids else "",
            "row": f"{self._table(ids)}/{self.row}s/{ids[f'{self.row}Id']}" if f"{self.row}Id" in ids else "",
        }
        return paths[kind]

    def changed(self, make: Case, kind: str, method: str, body: dict[str, Any], path: str = "") -> Case:
        """Return the case that makes something and then changes it."""

        async def case(world: World) -> Fired:
            ids = (await make(world)).ids
            where = self._table(ids) + path if path else self._path(ids, kind)
            return Fired(ids, await world.ask(method, where, body))

        return case

    def deleted(self, make: Case, kind: str) -> Case:
        """Return the case that makes something and then deletes it."""

        async def case(world: World) -> Fired:
            ids = (await make(world)).ids
            shown = await world.ask("GET", self._path(ids, kind))
            await world.ask("DELETE", self._path(ids, kind))
            return Fired(ids, shown)

        return case

    async def upserted(self, world: World) -> Fired:
        ids = (await self.column_in(world)).ids | {f"{self.row}Id": world.new_id()}
        return Fired(ids, await world.ask("PUT", self._path(ids, "row"), {"data": {"title": "a"}}))

    def cases(self, root: str, table: str, row: str, column: str) -> dict[str, Case]:
        """Return the cases for the names that begin with ``root``, in the words of the given vocabulary."""
        database = f"{root}.[databaseId]"
        tables = f"{database}.{table}s.[{table}Id]"
        rows, columns = f"{tables}.{row}s.[{row}Id]", f"{tables}.{column}s.[{column}Id]"
        indexes = f"{tables}.indexes.[indexId]"
        string = f"/{self.column}s/string/title"
        return {
            f"{database}.create": self.database,
            f"{database}.update": self.changed(self.database, "database", "PUT", {"name": "Other"}),
            f"{database}.delete": self.deleted(self.database, "database"),
            f"{tables}.create": self.table_in,
            f"{tables}.update": self.changed(self.table_in, "table", "PUT", {"name": "Other"}),
            f"{tables}.delete": self.deleted(self.table_in, "table"),
            f"{columns}.create": self.column_in,
            f"{columns}.update": self.changed(
                self.column_in, "column", "PATCH", {"required": False, "default": "b"}, string
            ),
            f"{columns}.delete": self.deleted(self.column_in, "column"),
            f"{indexes}.create": self.index_in,
            f"{indexes}.delete": self.deleted(self.index_in, "index"),
            f"{rows}.create": self.row_in,
            f"{rows}.update": self.changed(self.row_in, "row", "PATCH", {"data": {"title": "b"}}),
            f"{rows}.upsert": self.upserted,
            f"{rows}.delete": self.deleted(self.row_in, "row"),
        }


DOCUMENTS = Vocabulary("/databases", "collection", "document", "attribute")
ROWS = Vocabulary("/tablesdb", "table", "row", "column")

CASES: dict[str, Case] = DOCUMENTS.cases("databases", "collection", "document", "attribute")
# What is told in one vocabulary is told in the other one too.
CASES |= DOCUMENTS.cases("databases", "table", "row", "column")
CASES |= ROWS.cases("tablesdb", "table", "row", "column")
