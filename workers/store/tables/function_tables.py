"""Functions: what they are, the variables and deployments they are made of, and their executions."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, String, Text, UniqueConstraint

from workers.store.tables.base import ID, TIME, Json, sequence, table, times

functions = table(
    "functions",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("name", Text, nullable=False),
    Column("runtime", String(64), nullable=False),
    # Who may have it executed: roles.
    Column("execute", Json, nullable=False),
    # Names of the events that trigger it, wildcards included.
    Column("events", Json, nullable=False),
    # When it is triggered by time: a cron expression in UTC; empty for never.
    Column("schedule", Text, nullable=False),
    Column("timeout_s", Integer, nullable=False),
    Column("enabled", Boolean, nullable=False),
    # Whether logs and errors of executions are kept.
    Column("logging", Boolean, nullable=False),
    Column("entrypoint", Text, nullable=False),
    Column("commands", Text, nullable=False),
    # What the API key of an execution may do.
    Column("scopes", Json, nullable=False),
    # The active deployment; None until there is one.
    Column("deployment_id", ID),
    # Up to when its schedule is done with: the last due time that was seen to, or when the schedule began to count.
    # None: since the last change.
    Column("schedule_done_at", TIME),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "seq"),
)
# By which those who keep schedules find the few functions that have one.
Index(
    "ix_functions_scheduled",
    functions.c.seq,
    sqlite_where=functions.c.schedule != "",
    postgresql_where=functions.c.schedule != "",
)

variables = table(
    "variables",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("function_id", ID, nullable=False),
    Column("key", String(255), nullable=False),
    # Of workers.store.sealing, also if the variable is not secret.
    Column("sealed_value", Text, nullable=False),
    # Whether the value is never shown again.
    Column("secret", Boolean, nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    UniqueConstraint("project_id", "function_id", "key"),
)

deployments = table(
    "deployments",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("function_id", ID, nullable=False),
    # ready, as soon as it is here: it is kept when all of it has arrived, and nothing is built of it.
    Column("status", String(16), nullable=False),
    # Whether it becomes the active one once it is ready.
    Column("activate", Boolean, nullable=False),
    Column("entrypoint", Text, nullable=False),
    Column("commands", Text, nullable=False),
    # Where the archive is in the file store, and its size.
    Column("storage_key", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    # What there is to say about how it was made.
    Column("build_logs", Text, nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "function_id", "seq"),
)

executions = table(
    "executions",
    sequence(),
    Column("project_id", ID, nullable=False),
    Column("id", ID, nullable=False),
    Column("function_id", ID, nullable=False),
    Column("deployment_id", ID, nullable=False),
    # Who had it executed; None for guests, API keys, and triggers without an acting user.
    Column("user_id", ID),
    # The address, or network, that people had it executed from; None for API keys and triggers.
    Column("origin", String(45)),
    Column("permissions", Json, nullable=False),
    # http, event or schedule.
    Column("trigger", String(16), nullable=False),
    # How many functions set off one another, by events or calls, until this one was.
    Column("depth", Integer, nullable=False, server_default="0"),
    # scheduled, waiting, processing, completed or failed.
    Column("status", String(16), nullable=False),
    Column("request_method", String(16), nullable=False),
    Column("request_path", Text, nullable=False),
    # Those headers that are kept: [{"name", "value"}].
    Column("request_headers", Json, nullable=False),
    Column("response_status", Integer, nullable=False),
    Column("response_headers", Json, nullable=False),
    Column("logs", Text, nullable=False),
    Column("errors", Text, nullable=False),
    Column("duration_s", Double, nullable=False),
    # When somebody wanted it to be executed; None for at once.
    Column("scheduled_at", TIME),
    # When it is to be run, or, while it is processing, to be given up and run by somebody else. None once it has
    # ended.
    Column("due_at", TIME),
    # How often its run was begun.
    Column("attempts", Integer, nullable=False),
    # The request itself, sealed, until it has ended: headers and body may hold secrets.
    Column("sealed_request", Text, nullable=False),
    *times(),
    UniqueConstraint("project_id", "id"),
    Index(None, "project_id", "function_id", "seq"),
    Index(None, "project_id", "user_id"),
    Index(None, "due_at"),
)
# By which those who run them find, for each function, what is to be run first. What has ended is not in it.
Index(
    "ix_executions_waiting",
    executions.c.project_id,
    executions.c.function_id,
    executions.c.due_at,
    executions.c.seq,
    sqlite_where=executions.c.due_at.is_not(None),
    postgresql_where=executions.c.due_at.is_not(None),
)
