"""Every scope that an API key can have: those of Appwrite, and our own."""

_BOTH = (
    "project", "keys", "platforms", "mocks", "policies", "project.policies", "project.oauth2", "templates", "stages",
    "users", "sessions", "teams", "databases", "tables", "columns", "indexes", "rows", "collections", "attributes",
    "documents", "buckets", "files", "tokens", "functions", "executions", "execution", "sites", "log", "providers",
    "topics", "subscribers", "targets", "messages", "rules", "webhooks", "migrations", "schedules", "vcs", "insights",
    "reports", "presences", "backups.policies", "archives", "restorations", "domains", "wafRules", "apps", "oauth2",
)  # fmt: skip
"""What can be both read and written."""

ALL = "*"
"""Every scope there is, or will be."""

SCOPES = frozenset({
    *(f"{resource}.{right}" for resource in _BOTH for right in ("read", "write")),
    "locale.read", "avatars.read", "health.read", "assistant.read", "events.read", "usage.read",
    "dedicatedDatabases.execute", "oauth2.introspect",
    # Ours: publish events, receive all events of the project.
    "events.write", "realtime.read",
})  # fmt: skip
