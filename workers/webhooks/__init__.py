"""Delivering webhooks: from the events that wait, to requests, attempts and dead letters."""
