"""The HTTP API for servers: one module a service, put together by :func:`workers.api.app.create_app`."""

from workers.api.app import create_app

__all__ = ["create_app"]
