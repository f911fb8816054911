"""Databases, their tables, and what a table looks like: the routes of both vocabularies.

What these routes change is the schema of a table (:mod:`workers.store.schema`) and, in the same transaction, the SQL
table that its rows are in (:mod:`workers.store.row_tables`). Only API keys have the scopes for it.
"""

from fastapi import APIRouter

from workers.api.databases import column_changes, columns, databases, indexes, tables

router = APIRouter()
"""Every route of the service."""

for _part in (databases, tables, columns, column_changes, indexes):
    router.include_router(_part.router)
