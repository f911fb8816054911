"""The SQL store behind the API: its tables, its transactions, and the outbox through which events leave it."""
