"""Who is connecting: projects, users, sessions, JWTs, API keys, and where the hub looks them up."""
