"""Rows, documents and transactions, as clients are shown them. Pure."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict

StoredRow = Mapping[Any, Any]
"""A row by the names of its SQL columns: ``seq``, ``id``, ``permissions``, ``created_at``, ``updated_at``, ``c1``..."""

Row = TypedDict(
    "Row",
    {
        "$id": str,
        "$sequence": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "$databaseId": str,
        "$tableId": str,
    },
)
"""A row of a table. After these members come its columns, by their keys."""

Document = TypedDict(
    "Document",
    {
        "$id": str,
        "$sequence": str,
        "$createdAt": str,
        "$updatedAt": str,
        "$permissions": list[str],
        "$databaseId": str,
        "$collectionId": str,
    },
)
"""The same row as the older vocabulary calls it."""


class RowList(TypedDict):
    """One page of the rows of a table."""

    total: int
    rows: list[Row]


class DocumentList(TypedDict):
    """The same page as the older vocabulary calls it."""

    total: int
    documents: list[Document]


Transaction = TypedDict(
    "Transaction",
    {
        "$id": str,
        "$createdAt": str,
        "$updatedAt": str,
        # pending, committing, committed, rolled_back or failed.
        "status": str,
        "operations": int,
        "expiresAt": str,
    },
)
"""Changes that are made together, or not at all."""


class TransactionList(TypedDict):
    """One page of transactions."""

    total: int
    transactions: list[Transaction]


def row_head(row: StoredRow, *, database_id: str, table_id: str, table_member: str) -> dict[str, Any]:
    """Return the members that every row has, in the order of the API (wire specification 9.4).

    Args:
        row: the row.
        database_id: the database it is in.
        table_id: the table it is in.
        table_member: what the member with the table is called: ``$tableId`` or ``$collectionId``.
    """
    return {
        "$id": row["id"],
        "$sequence": str(row["seq"]),
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "$permissions": row["permissions"],
        "$databaseId": database_id,
        table_member: table_id,
    }


def transaction_model(row: Mapping[Any, Any]) -> Transaction:
    """Return the model of a row of ``transactions``."""
    return {
        "$id": row["id"],
        "$createdAt": row["created_at"],
        "$updatedAt": row["updated_at"],
        "status": row["status"],
        "operations": row["operations"],
        "expiresAt": row["expires_at"],
    }
