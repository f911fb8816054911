"""The parameters that every list takes: ``queries``, ``search`` and ``total``, as the SDKs spell them in URLs.

A list of texts arrives as ``queries[0]=...&queries[1]=...``, as ``queries[]=...`` or as ``queries=...`` several times,
by SDK. Frameworks read only the last form, so this module reads the query string itself.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request

from workers.api.direct import reads_request
from workers.api.errors import bad_request
from workers.store.queries import MAX_QUERIES, ListQuery, parse_list

MAX_SEARCH_CHARS = 256

_QUERIES = re.compile(r"queries(?:\[[0-9]{0,4}\])?")
_TRUE = frozenset({"", "true", "1"})
_FALSE = frozenset({"false", "0"})


@dataclass(frozen=True, slots=True)
class ListParams:
    """What a request says about the list that it asks for."""

    queries: tuple[str, ...]
    """JSON texts, in order."""
    search: str = ""
    """Texts in which the resources are looked for; empty for all."""
    total: bool = True
    """Whether to count what the list has in all."""

    def query(self, attributes: Collection[str] | None = None) -> ListQuery:
        """Return the parsed queries; ``attributes`` are those that they may name, None for any.

        Raises:
            InvalidQueryError: as :func:`workers.store.queries.parse_list`.
        """
        return parse_list(self.queries, attributes=attributes)


@reads_request
async def list_params(
    request: Request,
    _queries: Annotated[
        list[str] | None,
        Query(
            alias="queries",
            description=f'Query texts such as `{{"method":"limit","values":[25]}}`, at most {MAX_QUERIES}.',
        ),
    ] = None,
    _search: Annotated[
        str | None, Query(alias="search", description="Text to look for, in any case.")
    ] = None,
    _total: Annotated[Any, Query(alias="total", description="`false` leaves out the count.")] = None,
) -> ListParams:
    """Read the parameters of a list: a FastAPI dependency, which would be run in a thread were it not asynchronous.

    Raises:
        ApiError: 400 ``general_argument_invalid`` for a ``search`` that is too long, or a ``total`` that is neither
            true nor false.
    """
    items = request.query_params.multi_items()
    search = request.query_params.get("search", "")
    if len(search) > MAX_SEARCH_CHARS:
        raise bad_request(
            f"Invalid `search` param: Value must be a valid string and at most {MAX_SEARCH_CHARS} chars."
        )
    total = request.query_params.get("total", "true")
    if total not in _TRUE | _FALSE:
        raise bad_request("Invalid `total` param: Value must be a valid boolean")
    queries = tuple(value for name, value in items if _QUERIES.fullmatch(name))
    return ListParams(queries, search, total in _TRUE)
