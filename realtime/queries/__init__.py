"""The query language of subscriptions: parse it, write it again, and match payloads against it.

A subscription may carry queries such as ``{"method":"equal","attribute":"status","values":["active"]}``; an
event reaches it only if its payload passes all of them. :func:`compile_filter` is all that a hub needs; the
other names are for those who want to look at queries. The package is pure. Source: wire specification 6 and
16.10.
"""

from realtime.queries.filter import Filter, compile_filter
from realtime.queries.payload import PayloadView
from realtime.queries.query import ALLOWED_METHODS, Query, parse_queries, serialize

__all__ = [
    "ALLOWED_METHODS",
    "Filter",
    "PayloadView",
    "Query",
    "compile_filter",
    "parse_queries",
    "serialize",
]
