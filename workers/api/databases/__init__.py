"""Databases, their tables, and what a table looks like: the routes of both vocabularies.

What these routes change is the schema of a table (:mod:`workers.store.schema`) and, in the same transaction, the SQL
table that its rows are in (:mod:`workers.store.row_tables`). Only API keys have the scopes for it.
"""

from workers.api.databases import column_changes, columns, databases, indexes, tables
from workers.api.dispatch import joined

router = joined(databases.router, tables.router, columns.router, column_changes.router, indexes.router)
"""Every route of the service."""
