"""Rows of tables, which are also documents of collections: single, in bulk, and in transactions.

A change is decided before it is written (:mod:`workers.api.rows.changes`): from the table for one caller
(:mod:`~workers.api.rows.opened`), the row as it is, and what is asked. So single requests, bulk requests and
transactions, staged and committed, go by the same rules.
"""

from workers.api.dispatch import joined
from workers.api.rows import batches, rows, transactions

# Transactions first, since `/tablesdb/transactions/...` could be taken for a database's path.
router = joined(transactions.router, rows.router, batches.router)
"""Every route of rows and transactions."""
