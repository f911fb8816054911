"""The few expressions that SQLite and PostgreSQL spell differently, so that lists are the same on both."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import ARRAY, JSON, Boolean, FromClause, Integer, Text, and_, literal, literal_column, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ColumnElement
from sqlalchemy.sql.functions import FunctionElement

from realtime.queries.payload import SEARCHED_CHARACTERS

_LONGEST_WORD = 500
"""In characters; PostgreSQL indexes words of up to 2,046 bytes."""


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


class word_vector(FunctionElement[str]):  # noqa: N801
    """The words of a text as PostgreSQL indexes them: in lower case, those that a search looks at."""

    inherit_cache = True
    type = Text()


@compiles(word_vector, "postgresql")
def _word_vector(element: word_vector, compiler: SQLCompiler, **kw: Any) -> str:
    # Without parameters, as an expression has to be that an index may serve. What is no letter, digit or underscore
    # goes first: PostgreSQL would take `ada@example.com` for one word.
    beginning = f'substr(lower({compiler.process(element.clauses, **kw)} COLLATE "default"), 1, {SEARCHED_CHARACTERS})'
    return f"to_tsvector('simple', regexp_replace({beginning}, '\\W+', ' ', 'g'))"


class _may_have_words(FunctionElement[bool]):  # noqa: N801
    """Whether a vector may meet what a search asks; SQLite, which has no such vectors, cannot rule it out."""

    inherit_cache = True
    type = Boolean()


@compiles(_may_have_words, "sqlite")
def _cannot_tell(_element: _may_have_words, _compiler: SQLCompiler, **_kw: Any) -> str:
    return "1"


@compiles(_may_have_words, "postgresql")
def _meets(element: _may_have_words, compiler: SQLCompiler, **kw: Any) -> str:
    column, asked = element.clauses
    vector = compiler.process(word_vector(column), **kw)
    return f"{vector} @@ to_tsquery('simple', {compiler.process(asked, **kw)})"


def may_have_words(column: ColumnElement[Any], words: Sequence[str]) -> ColumnElement[bool]:
    """Return a condition that an index on :class:`word_vector` serves, and that no text fails which a search finds.

    Args:
        column: texts.
        words: in lower case. A text has one of them, or a word that begins with the last one.
    """
    if not all(map(_is_plain, words)):
        return true()
    asked = " | ".join([*words[:-1], f"{words[-1]}:*"])
    return _may_have_words(column, literal(asked, Text))


def _is_plain(word: str) -> bool:
    """Tell whether PostgreSQL takes a word for one too: it is of letters and digits, and not too long."""
    return len(word) <= _LONGEST_WORD and all(char.isalpha() or char in "0123456789" for char in word)


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


class _is_among(FunctionElement[bool]):  # noqa: N801
    """Whether a text is one of a list, which is one parameter: clauses are the text and the list."""

    inherit_cache = True
    type = Boolean()


@compiles(_is_among, "sqlite")
def _is_among_sqlite(element: _is_among, compiler: SQLCompiler, **kw: Any) -> str:
    text, texts = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{text} IN (SELECT value FROM json_each({texts}))"  # noqa: S608 - compiled parts


@compiles(_is_among, "postgresql")
def _is_among_postgresql(element: _is_among, compiler: SQLCompiler, **kw: Any) -> str:
    text, texts = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"{text} = ANY ({texts})"


_TEXTS = ARRAY(Text).with_variant(JSON(), "sqlite")


def is_among(column: ColumnElement[Any], texts: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of ``texts``, of which there may be more than parameters."""
    return _is_among(column, literal(list(texts), _TEXTS))


class _items(FunctionElement[Any]):  # noqa: N801
    """The items of a JSON array, as rows of one column, ``value``."""

    inherit_cache = True


@compiles(_items, "sqlite")
def _items_sqlite(element: _items, compiler: SQLCompiler, **kw: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **kw)})"


@compiles(_items, "postgresql")
def _items_postgresql(element: _items, compiler: SQLCompiler, **kw: Any) -> str:
    return f"jsonb_array_elements({compiler.process(element.clauses, **kw)})"


def matching(
    first: ColumnElement[Any], second: ColumnElement[Any], pairs: Iterable[tuple[str, str]]
) -> tuple[FromClause, ColumnElement[bool]]:
    """Return a table to join, and on what: the rows are those whose two columns together are one of ``pairs``.

    An index that begins with the columns serves it, on either database, and the pairs, which are distinct, are one
    parameter. For the plain ``(first, second) IN (...)`` SQLite looks at every row with one of the first.
    """
    listed = _items(literal([list(pair) for pair in pairs], _JSON)).table_valued("value", name="pair")
    item = listed.c.value.op("->>", return_type=Text())
    return listed, and_(first == item(literal_column("0")), second == item(literal_column("1")))
