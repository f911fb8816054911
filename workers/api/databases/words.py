"""The two vocabularies of the database API, tables with rows and collections with documents, on the same data. Pure.

A route is declared once under each vocabulary's path; its handler learns from :func:`words_of` which of them was
called, and names things accordingly: in models, in errors and in events.
"""

from dataclasses import dataclass

from starlette.requests import Request

from workers.api.errors import ApiError
from workers.api.problems import Problem, refuse


@dataclass(frozen=True, slots=True)
class Words:
    """How one vocabulary names things."""

    prefix: str
    """Where its routes begin; also the tag of its routes."""
    database_type: str
    """The type of databases that are made with it."""
    table: str
    tables: str
    column: str
    columns: str
    row: str
    rows: str
    row_security: str
    """The member of a table that tells whether rows have permissions of their own."""
    index: str
    """What an index is called in the types of errors."""

    @property
    def tag(self) -> str:
        """How the documentation groups the routes."""
        return self.prefix.rpartition("/")[2]

    @property
    def database_path(self) -> str:
        """The path of one database."""
        return f"{self.prefix}/{{databaseId}}"

    @property
    def tables_path(self) -> str:
        """The path of the tables of a database."""
        return f"{self.database_path}/{self.tables}"

    @property
    def table_path(self) -> str:
        """The path of one table. The parameter is ``tableId`` in both vocabularies, so that handlers can share it."""
        return f"{self.tables_path}/{{tableId}}"

    @property
    def columns_path(self) -> str:
        """The path of the columns of a table."""
        return f"{self.table_path}/{self.columns}"

    @property
    def indexes_path(self) -> str:
        """The path of the indexes of a table."""
        return f"{self.table_path}/indexes"

    @property
    def rows_path(self) -> str:
        """The path of the rows of a table."""
        return f"{self.table_path}/{self.rows}"

    @property
    def row_path(self) -> str:
        """The path of one row. The parameter is ``rowId`` in both vocabularies."""
        return f"{self.rows_path}/{{rowId}}"

    @property
    def row_table_id(self) -> str:
        """The member of a row that names its table."""
        return f"${self.table}Id"

    @property
    def table_pattern(self) -> str:
        """How names of events of a table begin, in the form that takes ``databaseId`` and ``tableId`` or so."""
        return f"databases.[databaseId].{self.tables}.[{self.table}Id]"

    def table_not_found(self) -> ApiError:
        """Return the refusal of a table that is not there."""
        return refuse(Problem.NOT_FOUND, word=self.table)

    def row_not_found(self) -> ApiError:
        """Return the refusal of a row that is not there, or that the caller may not know of."""
        return refuse(Problem.NOT_FOUND, word=self.row)


TABLES = Words(
    prefix="/v1/tablesdb",
    database_type="tablesdb",
    table="table",
    tables="tables",
    column="column",
    columns="columns",
    row="row",
    rows="rows",
    row_security="rowSecurity",
    index="column_index",
)

DOCUMENTS = Words(
    prefix="/v1/databases",
    database_type="legacy",
    table="collection",
    tables="collections",
    column="attribute",
    columns="attributes",
    row="document",
    rows="documents",
    row_security="documentSecurity",
    index="index",
)

VOCABULARIES = (TABLES, DOCUMENTS)


def words_of(request: Request) -> Words:
    """Return the vocabulary of the path that was called."""
    return TABLES if request.scope["path"].startswith(TABLES.prefix) else DOCUMENTS
