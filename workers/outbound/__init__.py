"""Requests that strangers have this server make, to addresses that they name: webhooks and remote pictures.

Whoever may name a URL could otherwise reach what only this server can: databases, cloud metadata, the administration of
a router. So a URL is judged when it is given, and its addresses again when they are connected to.
"""
