"""The tables that every store has, one for each kind of resource, by service. Migrations make them.

Rows of users' own tables are elsewhere: each table of a project is an SQL table of its own, made when the API
makes it (:mod:`workers.store.row_tables`).

Conventions: ``project_id`` comes first in every key, so that no query reaches another tenant; times are texts of
:mod:`workers.store.times`; booleans that the API calls "enabled" or "status" keep the API's name; ``seq`` is a
number that grows with each insert and is never used twice.
"""

from workers.store.tables.base import Json, Sequence, metadata
from workers.store.tables.database_tables import databases, operations, tables, transactions
from workers.store.tables.delivery_tables import attempts, deliveries, webhook_events
from workers.store.tables.function_tables import deployments, executions, functions, variables
from workers.store.tables.messaging_tables import messages, providers, subscribers, topics
from workers.store.tables.people_tables import (
    challenges,
    logs,
    memberships,
    sessions,
    targets,
    teams,
    tokens,
    users,
)
from workers.store.tables.project_tables import keys, outbox, platforms, projects, store_info
from workers.store.tables.storage_tables import buckets, file_permissions, file_tokens, files
from workers.store.tables.upload_tables import discarded_files, uploads
from workers.store.tables.webhook_tables import webhooks

__all__ = [
    "Json",
    "Sequence",
    "attempts",
    "buckets",
    "challenges",
    "databases",
    "deliveries",
    "deployments",
    "discarded_files",
    "executions",
    "file_permissions",
    "file_tokens",
    "files",
    "functions",
    "keys",
    "logs",
    "memberships",
    "messages",
    "metadata",
    "operations",
    "outbox",
    "platforms",
    "projects",
    "providers",
    "sessions",
    "store_info",
    "subscribers",
    "tables",
    "targets",
    "teams",
    "tokens",
    "topics",
    "transactions",
    "uploads",
    "users",
    "variables",
    "webhook_events",
    "webhooks",
]
