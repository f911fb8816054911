"""The catalogue: everything that can happen, and whom it reaches, as one table.

Each row of :data:`CATALOGUE` is a kind of resource with its actions, the resources below it, and how its
events travel. Event names are parsed and checked against it, patterns are mirrored by its vocabulary,
channels and their wildcard forms come from its templates, and ``docs/reference/events.md`` is printed from
it: a new kind of event is a new row here and nothing else. Placeholders in brackets, such as ``[userId]``,
stand for IDs. The module is pure. Sources: wire specification 5.4 (delivery), 5.5 (actions of channels), 7.2
(vocabulary), 7.5 and 9.4 (names).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Target = Literal["project", "console", "both"]
"""Where an event is published: for its own project, for the console project, or for each of them."""

ACTIONS = ("create", "update", "upsert", "delete")
"""The actions that channels can be narrowed to, as in ``rows.update``."""

NARROWABLE = frozenset(
    {
        "documents",
        "rows",
        "files",
        "executions",
        "functions",
        "account",
        "teams",
        "memberships",
        "presences",
    }
)
"""A channel with one of these words as its last or second-last segment also exists for each action."""

DATABASE_TYPES = ("legacy", "tablesdb", "documentsdb", "vectorsdb")
"""The kinds of database; each but the first has event names that begin with its own word."""


class Word(NamedTuple):
    """A word that the databases API and the tables API have different terms for."""

    collections: str
    tables: str


VOCABULARY = (
    Word("databases", "tablesdb"),
    Word("collections", "tables"),
    Word("documents", "rows"),
    Word("attributes", "columns"),
)
"""The two vocabularies. An event on a table is told in both, so each API's subscribers hear of it."""

SYNONYMS: Mapping[str, str] = {
    "collectionId": "tableId",
    "tableId": "collectionId",
    "documentId": "rowId",
    "rowId": "documentId",
    "attributeId": "columnId",
    "columnId": "attributeId",
}
"""Parameters with the same meaning in the two vocabularies; a pattern may use either."""

PAYLOAD_IDS: Mapping[str, tuple[str, ...]] = {
    "tableId": ("$tableId", "$collectionId"),
    "bucketId": ("bucketId",),
    "functionId": ("resourceId",),
}
"""For the IDs in channels that are read from the payload first: from which of its members."""

PROJECT_TEAM = "team:[projectTeam]"
"""Readers: the members of the console team that owns the project."""
PAYLOAD_READERS = ""
"""Readers: whoever has a ``read`` permission on the resource."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How the events of a resource travel (one row of the table in wire specification 5.4)."""

    channels: tuple[str, ...] = ()
    """Templates of the channels without action, in order; none if the event is not for realtime."""
    readers: str = PAYLOAD_READERS
    """The template of the role that reads it, :data:`PROJECT_TEAM` or :data:`PAYLOAD_READERS`."""
    target: Target = "project"
    both_on: frozenset[str] = frozenset()
    """Actions whose events are published for the project and for the console, whatever ``target`` says."""
    refreshes_on: frozenset[str] = frozenset()
    """Actions after which the subject's roles are computed anew, before the event is delivered."""
    narrowed: bool = True
    """Whether the channels get their action-suffixed forms too."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of resource that events are about."""

    word: str
    """Its segment in event names: ``rows``."""
    param: str
    """The parameter that holds its ID: ``rowId``."""
    actions: Mapping[str, tuple[str, ...]]
    """What can happen to it; for each action the attributes that it may name, as in ``update.email``."""
    delivery: Delivery = field(default_factory=Delivery)
    children: tuple["Resource", ...] = ()


def _actions(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``"create update:email,name"`` as actions with their attributes."""
    pairs = (word.partition(":") for word in text.split())
    return {action: tuple(attributes.split(",")) if colon else () for action, colon, attributes in pairs}


def _resource(
    word: str, param: str, actions: str, delivery: Delivery | None = None, *children: Resource
) -> Resource:
    return Resource(word, param, _actions(actions), delivery or Delivery(), children)


_EVERY_ACTION = frozenset(ACTIONS)

_ACCOUNT = Delivery(("account", "account.[userId]"), readers="user:[userId]")
# A new session is not an update of the account, so it does not reach those who listen to `account.update`.
_NESTED_ACCOUNT = Delivery(_ACCOUNT.channels, readers=_ACCOUNT.readers, narrowed=False)
_TEAM = Delivery(("teams", "teams.[teamId]"), readers="team:[teamId]", refreshes_on=frozenset({"create"}))
_MEMBERSHIP = Delivery(
    ("memberships", "memberships.[membershipId]"), readers="team:[teamId]", refreshes_on=_EVERY_ACTION
)
_ROW = Delivery(
    (
        "documents",
        "databases.[databaseId].collections.[tableId].documents",
        "databases.[databaseId].collections.[tableId].documents.[rowId]",
        "rows",
        "databases.[databaseId].tables.[tableId].rows",
        "databases.[databaseId].tables.[tableId].rows.[rowId]",
        "tablesdb.[databaseId].tables.[tableId].rows",
        "tablesdb.[databaseId].tables.[tableId].rows.[rowId]",
    )
)
_CONSOLE = Delivery(("console", "projects.[projectId]"), readers=PROJECT_TEAM, target="console")
_FILE = Delivery(("files", "buckets.[bucketId].files", "buckets.[bucketId].files.[fileId]"))
_EXECUTION = Delivery(
    ("console", "projects.[projectId]", "executions", "executions.[executionId]", "functions.[functionId]"),
    both_on=frozenset({"update"}),  # executions are updated by the worker that finished them
)
_REPORT = Delivery(("reports", "reports.[reportId]"), readers=PROJECT_TEAM)
_INSIGHT = Delivery(
    (*_REPORT.channels, "reports.[reportId].insights", "reports.[reportId].insights.[insightId]"),
    readers=PROJECT_TEAM,
)
_PRESENCE = Delivery(("presences", "presences.[presenceId]"))


def _own_documents(database: str) -> Delivery:
    """The delivery of documents in a kind of database that shares its channels with no other."""
    collection = f"{database}.[databaseId].collections.[tableId].documents"
    return Delivery(("documents", collection, f"{collection}.[rowId]"))


def _collections(documents: Delivery) -> Resource:
    return _resource(
        "collections",
        "collectionId",
        "create update delete",
        None,
        _resource("documents", "documentId", "create update upsert delete", documents),
        _resource("indexes", "indexId", "create update delete", _CONSOLE),
        _resource("attributes", "attributeId", "create update delete", _CONSOLE),
    )


_TABLES = _resource(
    "tables",
    "tableId",
    "create update delete",
    None,
    _resource("rows", "rowId", "create update upsert delete", _ROW),
    _resource("indexes", "indexId", "create update delete", _CONSOLE),
    _resource("columns", "columnId", "create update delete", _CONSOLE),
)

_ROOTS = (
    _resource(
        "users",
        "userId",
        # `sessions.delete` reads as an action with an attribute: the name that ends all sessions of a user
        # (wire specification 7.1 and 9.4).
        "create update:email,name,password,status,prefs,phone,mfa,labels,verification,impersonator delete "
        "sessions:delete",
        _ACCOUNT,
        _resource("sessions", "sessionId", "create update delete", _NESTED_ACCOUNT),
        _resource("recovery", "recoveryId", "create update", _NESTED_ACCOUNT),
        _resource("verification", "verificationId", "create update", _NESTED_ACCOUNT),
        _resource("targets", "targetId", "create update delete", _NESTED_ACCOUNT),
        _resource("tokens", "tokenId", "create", _NESTED_ACCOUNT),
        _resource("challenges", "challengeId", "create update", _NESTED_ACCOUNT),
        _resource("identities", "identityId", "delete", _NESTED_ACCOUNT),
    ),
    _resource("databases", "databaseId", "create update delete", None, _collections(_ROW), _TABLES),
    _resource("tablesdb", "databaseId", "create update delete", None, _TABLES),
    _resource(
        "documentsdb",
        "databaseId",
        "create update delete",
        None,
        _collections(_own_documents("documentsdb")),
    ),
    _resource(
        "vectorsdb",
        "databaseId",
        "create update delete",
        None,
        _collections(_own_documents("vectorsdb")),
    ),
    _resource(
        "buckets",
        "bucketId",
        "create update delete",
        None,
        _resource("files", "fileId", "create update delete", _FILE),
    ),
    _resource(
        "teams",
        "teamId",
        "create update:prefs delete",
        _TEAM,
        _resource("memberships", "membershipId", "create update:status delete", _MEMBERSHIP),
    ),
    _resource(
        "sites",
        "siteId",
        "create update delete",
        None,
        _resource("deployments", "deploymentId", "create update delete", _CONSOLE),
    ),
    _resource(
        "functions",
        "functionId",
        "create update delete",
        None,
        _resource("deployments", "deploymentId", "create update delete", _CONSOLE),
        _resource("executions", "executionId", "create update delete", _EXECUTION),
        _resource("variables", "variableId", "create update delete"),
    ),
    _resource("messages", "messageId", "create update"),
    _resource(
        "topics",
        "topicId",
        "create update delete",
        None,
        _resource("subscribers", "subscriberId", "create delete"),
    ),
    _resource("providers", "providerId", "create update delete"),
    _resource("schedules", "scheduleId", "create"),
    _resource("rules", "ruleId", "create update delete", _CONSOLE),
    _resource(
        "reports",
        "reportId",
        "create update delete",
        _REPORT,
        _resource("insights", "insightId", "create update delete", _INSIGHT),
    ),
    _resource("presences", "presenceId", "update upsert delete", _PRESENCE),
    _resource("projects", "projectId", "create update delete ping", _CONSOLE),
    _resource("migrations", "migrationId", "create update delete", _CONSOLE),
    _resource("keys", "keyId", "create update delete"),
    _resource("platforms", "platformId", "create update delete"),
    _resource("webhooks", "webhookId", "create update:disabled delete"),
)

CATALOGUE: Mapping[str, Resource] = {resource.word: resource for resource in _ROOTS}
"""Every resource at the top level by its word; the others are their children."""


def walk() -> Iterator[tuple[Resource, ...]]:
    """Yield the path to every resource of the catalogue, outermost first, in the catalogue's order."""

    def below(path: tuple[Resource, ...]) -> Iterator[tuple[Resource, ...]]:
        yield path
        for child in path[-1].children:
            yield from below((*path, child))

    for root in CATALOGUE.values():
        yield from below((root,))


def narrow(channels: tuple[str, ...], action: str) -> tuple[str, ...]:
    """Return the action-suffixed forms of those channel templates that have one, in order.

    Looks at words, never at IDs: a team with the ID ``files`` is not mistaken for a list of files.
    """
    return tuple(
        f"{channel}.{action}" for channel in channels if not NARROWABLE.isdisjoint(channel.split(".")[-2:])
    )


def channel_templates() -> list[str]:
    """Return every channel that an event can reach, with placeholders for IDs, each once.

    The forms without an action come in the catalogue's order, each directly before its suffixed forms.
    """
    templates: dict[str, None] = {}
    for path in walk():
        delivery = path[-1].delivery
        for channel in delivery.channels:
            templates[channel] = None
            if delivery.narrowed:
                templates.update(
                    dict.fromkeys(form for action in ACTIONS for form in narrow((channel,), action))
                )
    return list(templates)
