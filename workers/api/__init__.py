"""The HTTP API for servers: one module a service, put together by :func:`workers.api.app.create_app`.

Nothing is imported here: workers use what the API stands on (:mod:`workers.api.services`) without its routes, and start
in half the time.
"""
