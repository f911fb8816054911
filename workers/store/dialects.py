"""The few expressions that SQLite and PostgreSQL spell differently, so that lists are the same on both."""

from typing import Any

from sqlalchemy import JSON, Boolean, Integer, Text, literal
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.functions import FunctionElement


class by_code_point(FunctionElement[str]):  # noqa: N801 - used like a function
    """A text that compares by code points. SQLite's texts always do, PostgreSQL's by where it was installed."""

    inherit_cache = True
    type = Text()


@compiles(by_code_point)
def _plain(element: by_code_point, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


@compiles(by_code_point, "postgresql")
def _collated(element: by_code_point, compiler: SQLCompiler, **kw: Any) -> str:
    return f'({compiler.process(element.clauses, **kw)} COLLATE "C")'


class folded(FunctionElement[str]):  # noqa: N801
    """A text in lower case.

    PostgreSQL knows the letters of the database's locale, and nothing beyond ASCII in the locale ``C``. SQLite is
    given a function that knows all (:mod:`workers.store.database`).
    """

    inherit_cache = True
    type = Text()


@compiles(folded)
def _lower(element: folded, compiler: SQLCompiler, **kw: Any) -> str:
    return f"lower({compiler.process(element.clauses, **kw)})"


@compiles(folded, "postgresql")
def _lower_in_locale(element: folded, compiler: SQLCompiler, **kw: Any) -> str:
    # A column that compares by code points would hand that down to lower(), which then knows only ASCII.
    return f'lower({compiler.process(element.clauses, **kw)} COLLATE "default")'


class _has_item(FunctionElement[bool]):  # noqa: N801
    """Whether a JSON array has an item: clauses are the array, the item twice over, and what SQLite calls its type."""

    inherit_cache = True
    type = Boolean()


@compiles(_has_item, "sqlite")
def _has_item_sqlite(element: _has_item, compiler: SQLCompiler, **kw: Any) -> str:
    array, item, _json, *types = (compiler.process(clause, **kw) for clause in element.clauses)
    condition = f"item.value = {item} AND item.type IN ({', '.join(types)})"
    return f"EXISTS (SELECT 1 FROM json_each({array}) AS item WHERE {condition})"  # noqa: S608 - compiled parts


@compiles(_has_item, "postgresql")
def _has_item_postgresql(element: _has_item, compiler: SQLCompiler, **kw: Any) -> str:
    array, _item, as_json, *_types = element.clauses
    return f"({compiler.process(array, **kw)} @> {compiler.process(as_json, **kw)})"


_JSON = JSON().with_variant(JSONB(), "postgresql")


def has_item(array: ColumnElement[Any], item: BindParameter[Any]) -> ColumnElement[bool]:
    """Return the condition that a column of JSON arrays has an item: of the same type, numbers being one type.

    It is null where the column is, in PostgreSQL; false in SQLite.
    """
    value = item.value
    types: tuple[str, ...]
    if isinstance(value, bool):
        types, item = (str(value).lower(),), literal(int(value), Integer)
    else:
        types = ("text",) if isinstance(value, str) else ("integer", "real")
    return _has_item(array, item, literal([value], _JSON), *(literal(each, Text) for each in types))
