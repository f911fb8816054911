"""What is to happen when an event does: the webhooks and functions of projects, as workers read them from Redis."""
