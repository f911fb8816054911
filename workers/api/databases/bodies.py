"""The bodies of requests about tables, columns and indexes, and which kinds of columns there are.

One body serves both vocabularies: a member that they call differently has an alias for each.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AliasChoices, Field

from workers.api.granting import ContainerPermissions
from workers.api.params import Body, CustomId, Name
from workers.store.schema import ColumnType, StringFormat
from workers.store.values import FORMAT_CHARS, INTEGER_MAX, INTEGER_MIN

MAX_COLUMNS = 200
"""How many columns a table may have."""
MAX_INDEXES = 64
"""How many indexes a table may have."""
MAX_ELEMENTS = 100
MAX_ELEMENT_CHARS = 255


Key = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,35}$",
        description="Up to 36 of a-z, A-Z, 0-9, period, hyphen, and underscore; the first is a letter or digit.",
    ),
]
"""What a column or index is called."""

Int64 = Annotated[int, Field(ge=INTEGER_MIN, le=INTEGER_MAX)]
Float = Annotated[float, Field(allow_inf_nan=False)]
OnDelete = Literal["cascade", "restrict", "setNull"]
Elements = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=MAX_ELEMENT_CHARS)]],
    Field(min_length=1, max_length=MAX_ELEMENTS),
]


class NewDatabase(Body):
    """A database to be made."""

    databaseId: CustomId
    name: Name
    enabled: bool = True


class DatabaseChange(Body):
    """What a database is to be called, and whether users may reach it; what is left out stays as it is."""

    name: Name | None = None
    enabled: bool | None = None


class NewTable(Body):
    """A table to be made, with columns and indexes if it is given any."""

    tableId: CustomId = Field(validation_alias=AliasChoices("tableId", "collectionId"))
    name: Name
    permissions: ContainerPermissions | None = None
    rowSecurity: bool = Field(False, validation_alias=AliasChoices("rowSecurity", "documentSecurity"))
    enabled: bool = True
    columns: list[dict[str, Any]] = Field(
        default=[],
        max_length=MAX_COLUMNS,
        validation_alias=AliasChoices("columns", "attributes"),
        description="Each the body of a request that creates a column, with its `type` besides.",
    )
    indexes: list[dict[str, Any]] = Field(
        default=[], max_length=MAX_INDEXES, description="Each the body of a request that creates an index."
    )


class TableChange(Body):
    """What is to change of a table; what is left out stays as it is."""

    name: Name | None = None
    permissions: ContainerPermissions | None = None
    rowSecurity: bool | None = Field(None, validation_alias=AliasChoices("rowSecurity", "documentSecurity"))
    enabled: bool | None = None


class NewColumn(Body):
    """What is said of every new column that holds values."""

    key: Key
    required: bool
    default: Any = None
    array: bool = False


class NewText(NewColumn):
    """A column of texts without a size."""

    encrypt: bool = False


class NewSizedText(NewText):
    """A column of texts of at most ``size`` characters."""

    size: Annotated[int, Field(ge=1, le=1_073_741_824)]


class NewVarchar(NewText):
    """A column of short texts of at most ``size`` characters."""

    size: Annotated[int, Field(ge=1, le=16_381)]


class NewInteger(NewColumn):
    """A column of whole numbers of 64 bits."""

    min: Int64 | None = None
    max: Int64 | None = None


class NewFloat(NewColumn):
    """A column of floating-point numbers."""

    min: Float | None = None
    max: Float | None = None


class NewEnum(NewColumn):
    """A column of texts out of ``elements``."""

    elements: Elements


class NewShape(Body):
    """A column of points, lines or polygons, which come one a row."""

    key: Key
    required: bool
    default: list[Any] | None = None


class NewRelationship(Body):
    """A column that holds which rows of another table belong to a row."""

    relatedTableId: Annotated[str, Field(max_length=36)] = Field(
        validation_alias=AliasChoices("relatedTableId", "relatedCollectionId")
    )
    type: Literal["oneToOne", "oneToMany", "manyToOne", "manyToMany"]
    twoWay: bool = False
    key: Key | None = None
    onDelete: OnDelete = "restrict"


class ColumnChange(Body):
    """What a column is to be like; null as ``default`` for none."""

    required: bool
    default: Any = None
    newKey: Key | None = None


class SizedChange(ColumnChange):
    """What a column of texts with a size is to be like."""

    size: Annotated[int, Field(ge=1, le=1_073_741_824)] | None = None


class IntegerChange(ColumnChange):
    """What a column of whole numbers is to be like; without ``min`` or ``max``, that bound stays."""

    min: Int64 | None = None
    max: Int64 | None = None


class FloatChange(ColumnChange):
    """What a column of floating-point numbers is to be like; without ``min`` or ``max``, that bound stays."""

    min: Float | None = None
    max: Float | None = None


class EnumChange(ColumnChange):
    """What a column of texts out of ``elements`` is to be like."""

    elements: Elements


class RelationshipChange(Body):
    """What is to change of a relationship."""

    onDelete: OnDelete | None = None
    newKey: Key | None = None


class NewIndex(Body):
    """An index to be made."""

    key: Key
    type: Literal["key", "fulltext", "unique", "spatial"]
    columns: list[Annotated[str, Field(max_length=36)]] = Field(
        min_length=1, max_length=100, validation_alias=AliasChoices("columns", "attributes")
    )
    orders: list[Literal["ASC", "DESC", "asc", "desc", ""] | None] = Field(default=[], max_length=100)
    lengths: list[Annotated[int, Field(ge=0, le=INTEGER_MAX)] | None] = Field(default=[], max_length=100)


class Kind(NamedTuple):
    """A kind of column, as the paths of its routes name it."""

    column_type: ColumnType
    string_format: StringFormat
    size: int
    """How many characters its values may have; 0 if the body says so, or if they are no texts."""
    body: type[NewColumn] | type[NewShape] | type[NewRelationship]
    """What creates a column of the kind."""


KINDS: Mapping[str, Kind] = MappingProxyType({
    "string": Kind("string", "", 0, NewSizedText),
    "varchar": Kind("varchar", "", 0, NewVarchar),
    "text": Kind("text", "", 0, NewText),
    "mediumtext": Kind("mediumtext", "", 0, NewText),
    "longtext": Kind("longtext", "", 0, NewText),
    "email": Kind("string", "email", FORMAT_CHARS["email"], NewColumn),
    "enum": Kind("string", "enum", MAX_ELEMENT_CHARS, NewEnum),
    "url": Kind("string", "url", FORMAT_CHARS["url"], NewColumn),
    "ip": Kind("string", "ip", FORMAT_CHARS["ip"], NewColumn),
    "integer": Kind("integer", "", 0, NewInteger),
    "bigint": Kind("bigint", "", 0, NewInteger),
    "float": Kind("double", "", 0, NewFloat),
    "boolean": Kind("boolean", "", 0, NewColumn),
    "datetime": Kind("datetime", "", 0, NewColumn),
    "point": Kind("point", "", 0, NewShape),
    "line": Kind("linestring", "", 0, NewShape),
    "polygon": Kind("polygon", "", 0, NewShape),
    "relationship": Kind("relationship", "", 0, NewRelationship),
})  # fmt: skip
"""Every kind, by the last part of the path that creates one."""
