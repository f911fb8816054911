import itertools
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.errors import InvalidEventError
from realtime.events.catalogue import walk
from realtime.events.names import (
    MAX_NAME_CHARS,
    MAX_PARAMS,
    expand,
    parse_name,
    parse_pattern,
    placeholders,
    retarget,
    validate_subscription,
)

ROW_PATTERN = "databases.[databaseId].tables.[tableId].rows.[rowId].create"
DOCUMENT_PATTERN = "databases.[databaseId].collections.[collectionId].documents.[documentId].create"
ROW = {"databaseId": "D", "tableId": "T", "rowId": "R"}
FIVE = {"databaseId": "D", "collectionId": "T", "tableId": "T", "documentId": "R", "rowId": "R"}

PATTERNS = [
    ".".join([prefix, *([action] if action else []), *([attribute] if attribute else [])])
    for path in walk()
    for prefix in [".".join(f"{resource.word}.[{resource.param}]" for resource in path)]
    for action, attribute in [
        ("", ""),
        *((action, attribute) for action, own in path[-1].actions.items() for attribute in ("", *own)),
    ]
]


def expand_by_brute_force(pattern: str, params: dict[str, str], database_type: str | None) -> list[str]:
    """Expand on concrete strings, step by step as wire specification 7.2 puts it; knows no catalogue."""
    words = in_the_words_of(database_type, pattern)
    sub = len(words) > 3 and words[3].startswith("[")
    sub_sub = sub and len(words) > 5 and words[5].startswith("[")
    depth = 3 if sub_sub else 2 if sub else 1
    events = starred(patterns_of(words, depth), params, depth)
    if database_type in ("documentsdb", "vectorsdb"):
        return events
    if "databases." in pattern and (".collections." in events[0] or ".tables." in events[0]):
        return mirrored(events)
    return mirrored(events) if events[0].startswith("tablesdb.") else events


def in_the_words_of(database_type: str | None, pattern: str) -> list[str]:
    words = pattern.split(".")
    if "databases." in pattern and database_type == "tablesdb":
        names = {
            "databases": "tablesdb",
            "collections": "tables",
            "documents": "rows",
            "attributes": "columns",
        }
        return [names.get(word, word) for word in words]
    if "databases." in pattern and database_type in ("documentsdb", "vectorsdb"):
        return [str(database_type) if word == "databases" else word for word in words]
    return words


def patterns_of(words: list[str], depth: int) -> list[str]:
    """Step 1."""
    full = ".".join(words[: 2 * depth])
    action, attribute = [*words[2 * depth :], "", ""][:2]
    patterns = []
    if depth > 1 and action:
        patterns += [f"{full}.{action}.{attribute}"] if attribute else []
        patterns += [f"{full}.{action}", full]
    if depth == 1 and action:
        patterns.append(f"{full}.{action}")
    if attribute:
        patterns.append(".".join([*words[:2], action, attribute]))
    return list(
        dict.fromkeys([*patterns, full, ".".join(words[:4]) if depth > 1 else full, ".".join(words[:2])])
    )


def starred(patterns: list[str], params: dict[str, str], depth: int) -> list[str]:
    """Step 2."""

    def fill(text: str, stars: set[str]) -> str:
        for key, value in params.items():
            text = text.replace(f"[{key}]", "*" if key in stars else value)
        return text

    events = []
    for each in patterns:
        events += [fill(each, set()), fill(each, set(params))]
        for k, c in itertools.product(params, params):
            if depth == 3:
                for s in params:
                    if s not in (c, k):
                        events += [fill(each, {s}), fill(each, {s, c}), fill(each, {c})]
            elif c != k:
                events.append(fill(each, {c}))
    return list(dict.fromkeys(events))


def mirrored(events: list[str]) -> list[str]:
    """Step 4; the IDs in these tests are no words of the vocabulary."""
    to_tables = {"collections": "tables", "documents": "rows", "attributes": "columns"}
    to_collections = {there: here for here, there in to_tables.items()}

    def replaced(event: str, words: dict[str, str]) -> str:
        return ".".join(words.get(segment, segment) for segment in event.split("."))

    result = []
    for event in events:
        result.append(event)
        if event.startswith("tablesdb."):
            result.append(replaced(event, {"tablesdb": "databases", **to_collections}))
            result.append(replaced(event, {"tablesdb": "databases"}))
        elif ".collections." in event:
            result.append(replaced(event, to_tables))
        elif ".tables." in event:
            result.append(replaced(event, to_collections))
    return list(dict.fromkeys(result))


ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,5}", fullmatch=True)


class TestExpand:
    def test_one_resource_with_attribute(self) -> None:
        """Wire specification 7.3, first example: the name without the attribute comes first."""
        assert expand("users.[userId].update.email", {"userId": "U"}) == [
            "users.U.update",
            "users.*.update",
            "users.U.update.email",
            "users.*.update.email",
            "users.U",
            "users.*",
        ]

    def test_two_resources(self) -> None:
        """Wire specification 7.3, second example."""
        assert expand("buckets.[bucketId].files.[fileId].create", {"bucketId": "B", "fileId": "F"}) == [
            "buckets.B.files.F.create",
            "buckets.*.files.*.create",
            "buckets.B.files.*.create",
            "buckets.*.files.F.create",
            "buckets.B.files.F",
            "buckets.*.files.*",
            "buckets.B.files.*",
            "buckets.*.files.F",
            "buckets.B",
            "buckets.*",
        ]

    def test_three_resources_with_mirror(self) -> None:
        """Wire specification 7.3, third example."""
        starrings = ["DTR", "***", "D*R", "**R", "*TR", "DT*", "*T*", "D**"]
        block = [
            form.format(*starring)
            for starring in starrings
            for form in ("databases.{}.tables.{}.rows.{}", "databases.{}.collections.{}.documents.{}")
        ]
        assert expand(ROW_PATTERN, ROW) == [
            *(f"{name}.create" for name in block),
            *block,
            "databases.D.tables.T",
            "databases.D.collections.T",
            "databases.*.tables.*",
            "databases.*.collections.*",
            "databases.D.tables.*",
            "databases.D.collections.*",
            "databases.*.tables.T",
            "databases.*.collections.T",
            "databases.D",
            "databases.*",
        ]

    @pytest.mark.parametrize(
        ("pattern", "starrings", "tables", "words"),
        [
            (
                DOCUMENT_PATTERN,
                ["DTR", "***", "D*R", "**R", "*TR", "DT*", "*T*", "D**"],
                ["DT", "**", "D*", "*T"],
                [("collections", "documents"), ("tables", "rows")],
            ),
            (
                ROW_PATTERN,
                ["DTR", "***", "*TR", "D*R", "**R", "DT*", "*T*", "D**"],
                ["DT", "**", "*T", "D*"],
                [("tables", "rows"), ("collections", "documents")],
            ),
        ],
    )
    def test_five_params_in_a_legacy_database(
        self, pattern: str, starrings: list[str], tables: list[str], words: list[tuple[str, str]]
    ) -> None:
        """The order of the starrings depends on the words of the placeholders."""
        block = [
            f"databases.{ids[0]}.{table}.{ids[1]}.{row}.{ids[2]}" for ids in starrings for table, row in words
        ]
        level = [f"databases.{ids[0]}.{table}.{ids[1]}" for ids in tables for table, _ in words]
        names = [*(f"{name}.create" for name in block), *block, *level, "databases.D", "databases.*"]
        assert len(names) == 42
        assert expand(pattern, FIVE) == names
        assert expand(pattern, FIVE, database_type="legacy") == names

    def test_five_params_in_a_tablesdb_database(self) -> None:
        """64 names, each name of a row in three forms."""
        starrings = ["DTR", "***", "D*R", "**R", "*TR", "DT*", "*T*", "D**"]
        block = [
            form.format(*starring)
            for starring in starrings
            for form in (
                "tablesdb.{}.tables.{}.rows.{}",
                "databases.{}.collections.{}.documents.{}",
                "databases.{}.tables.{}.rows.{}",
            )
        ]
        level = [
            form.format(*starring)
            for starring in ["DT", "**", "D*", "*T"]
            for form in ("tablesdb.{}.tables.{}", "databases.{}.collections.{}", "databases.{}.tables.{}")
        ]
        names = expand(DOCUMENT_PATTERN, FIVE, database_type="tablesdb")
        assert names == [
            *(f"{name}.create" for name in block),
            *block,
            *level,
            "tablesdb.D",
            "databases.D",
            "tablesdb.*",
            "databases.*",
        ]
        assert len(names) == 64

    @pytest.mark.parametrize("database_type", ["documentsdb", "vectorsdb"])
    def test_other_databases_have_22_names_and_no_mirror(self, database_type: str) -> None:
        names = expand(DOCUMENT_PATTERN, FIVE, database_type=database_type)
        assert len(names) == 22
        assert names[0] == f"{database_type}.D.collections.T.documents.R.create"
        assert all(name.startswith(f"{database_type}.") for name in names)

    @pytest.mark.parametrize(
        ("pattern", "params", "count"),
        [
            ("users.[userId].create", {"userId": "U"}, 4),
            ("users.[userId].update.email", {"userId": "U"}, 6),
            ("buckets.[bucketId].files.[fileId].create", {"bucketId": "B", "fileId": "F"}, 10),
            (ROW_PATTERN, ROW, 42),
        ],
    )
    def test_counts(self, pattern: str, params: dict[str, str], count: int) -> None:
        assert len(expand(pattern, params)) == count

    def test_the_documented_row_update(self) -> None:
        """Every name of the published example of a row's update is among the expansion."""
        names = expand(
            "databases.[databaseId].tables.[tableId].rows.[rowId].update",
            {"databaseId": "default", "tableId": "sample", "rowId": "63c98b9baea0938e1206"},
        )
        assert names[0] == "databases.default.tables.sample.rows.63c98b9baea0938e1206.update"
        assert set(names) >= {
            "databases.default.tables.sample.rows.63c98b9baea0938e1206.update",
            "databases.*.tables.*.rows.*.update",
            "databases.default.tables.*.rows.63c98b9baea0938e1206.update",
            "databases.*.tables.*.rows.63c98b9baea0938e1206.update",
            "databases.*.tables.sample.rows.63c98b9baea0938e1206.update",
            "databases.default.tables.sample.rows.*.update",
            "databases.*.tables.sample.rows.*.update",
            "databases.default.tables.*.rows.*.update",
            "databases.default.tables.sample.rows.63c98b9baea0938e1206",
            "databases.*.tables.*.rows.*",
            "databases.default.tables.*.rows.63c98b9baea0938e1206",
            "databases.*.tables.*.rows.63c98b9baea0938e1206",
            "databases.*.tables.sample.rows.63c98b9baea0938e1206",
            "databases.default.tables.sample.rows.*",
            "databases.*.tables.sample.rows.*",
            "databases.default.tables.*.rows.*",
            "databases.default.tables.sample",
            "databases.*.tables.*",
            "databases.default.tables.*",
            "databases.*.tables.sample",
            "databases.default",
            "databases.*",
        }

    def test_attribute_of_a_nested_event_also_names_its_parent(self) -> None:
        """Wire specification 7.2: the bogus `teams.T.update.status` is fired knowingly."""
        params = {"teamId": "T", "membershipId": "M"}
        names = expand("teams.[teamId].memberships.[membershipId].update.status", params)
        assert names[0] == "teams.T.memberships.M.update.status"
        assert "teams.T.update.status" in names
        assert "teams.T.update" not in names

    def test_database_events_are_told_in_both_prefixes_for_tablesdb(self) -> None:
        names = expand("databases.[databaseId].create", {"databaseId": "D"}, database_type="tablesdb")
        assert names == [
            "tablesdb.D.create",
            "databases.D.create",
            "tablesdb.*.create",
            "databases.*.create",
            "tablesdb.D",
            "databases.D",
            "tablesdb.*",
            "databases.*",
        ]

    def test_id_that_is_a_word_of_the_vocabulary_stays(self) -> None:
        """Deviates from Appwrite, which replaces such an ID as well."""
        names = expand(ROW_PATTERN, {"databaseId": "databases", "tableId": "tables", "rowId": "rows"})
        assert names[:2] == [
            "databases.databases.tables.tables.rows.rows.create",
            "databases.databases.collections.tables.documents.rows.create",
        ]
        assert len(names) == 42

    def test_id_with_a_dot_stands_in_the_names_as_it_is(self) -> None:
        names = expand("teams.[teamId].create", {"teamId": "a.b"})
        assert names == ["teams.a.b.create", "teams.*.create", "teams.a.b", "teams.*"]

    def test_missing_param_raises(self) -> None:
        with pytest.raises(InvalidEventError, match=r"^\[userId\] is missing from the params\.$"):
            expand("users.[userId].create", {"teamId": "T"})

    @pytest.mark.parametrize("value", ["", "*", "a/b", "a\nb", "[userId]", None, 1])
    def test_param_that_is_no_id_raises(self, value: str) -> None:
        with pytest.raises(InvalidEventError, match=r"^\[userId\] is not a valid ID\.$"):
            expand("users.[userId].create", {"userId": value})

    def test_param_that_no_event_has_raises(self) -> None:
        """Compiled patterns are kept, so a stranger must not be able to make up more and more of them."""
        with pytest.raises(InvalidEventError, match="No event has the param `extra`"):
            expand("users.[userId].create", {"userId": "U", "extra": "x"})

    def test_too_many_params_raise(self) -> None:
        params = {"userId": "U"} | {f"p{n}": "x" for n in range(MAX_PARAMS)}
        with pytest.raises(InvalidEventError, match="at most 6 params"):
            expand("users.[userId].create", params)

    def test_pattern_outside_the_catalogue_raises(self) -> None:
        with pytest.raises(InvalidEventError, match="not in the catalogue"):
            expand("orders.[orderId].create", {"orderId": "1"})

    def test_unknown_database_type_raises(self) -> None:
        with pytest.raises(InvalidEventError, match="Database type must be one of legacy, tablesdb"):
            expand(ROW_PATTERN, ROW, database_type="mysql")

    def test_result_is_the_callers_own(self) -> None:
        expand(ROW_PATTERN, ROW).clear()
        assert len(expand(ROW_PATTERN, ROW)) == 42

    @settings(max_examples=150)
    @given(st.data())
    def test_agrees_with_brute_force(self, data: st.DataObject) -> None:
        pattern = data.draw(st.sampled_from(PATTERNS))
        if pattern.count(".") < 2 or pattern == "users.[userId].sessions":
            return
        needed = placeholders(pattern)
        extra = data.draw(
            st.lists(st.sampled_from(["userId", "rowId", "documentId", "teamId"]), unique=True, max_size=2)
        )
        keys = data.draw(st.permutations(list(dict.fromkeys([*needed, *extra]))))
        values = data.draw(st.lists(ids, min_size=len(keys), max_size=len(keys)))
        params = dict(zip(keys, values, strict=True))
        types = [None, "legacy", "tablesdb"]
        if pattern.startswith("databases.") and "tables" not in pattern:
            types += ["documentsdb", "vectorsdb"]
        database_type = data.draw(st.sampled_from(types))
        assert expand(pattern, params, database_type=database_type) == expand_by_brute_force(
            pattern, params, database_type
        )


class TestParseName:
    @pytest.mark.parametrize(
        ("name", "pattern", "params"),
        [
            ("users.U.create", "users.[userId].create", {"userId": "U"}),
            ("users.U", "users.[userId]", {"userId": "U"}),
            ("users.U.update.email", "users.[userId].update.email", {"userId": "U"}),
            (
                "users.U.sessions.S.delete",
                "users.[userId].sessions.[sessionId].delete",
                {"userId": "U", "sessionId": "S"},
            ),
            ("users.U.sessions.delete", "users.[userId].sessions.delete", {"userId": "U"}),
            (
                "teams.T.memberships.M.update.status",
                "teams.[teamId].memberships.[membershipId].update.status",
                {"teamId": "T", "membershipId": "M"},
            ),
            ("databases.D.tables.T.rows.R.create", ROW_PATTERN, ROW),
            (
                "documentsdb.D.collections.C.documents.X.upsert",
                "documentsdb.[databaseId].collections.[collectionId].documents.[documentId].upsert",
                {"databaseId": "D", "collectionId": "C", "documentId": "X"},
            ),
            ("presences.N.upsert", "presences.[presenceId].upsert", {"presenceId": "N"}),
            ("projects.P.ping", "projects.[projectId].ping", {"projectId": "P"}),
            ("migrations.1.update", "migrations.[migrationId].update", {"migrationId": "1"}),
            (
                "functions.F.variables.V.create",
                "functions.[functionId].variables.[variableId].create",
                {"functionId": "F", "variableId": "V"},
            ),
            ("teams.create.create", "teams.[teamId].create", {"teamId": "create"}),
        ],
    )
    def test_concrete_name_gives_pattern_and_params(
        self, name: str, pattern: str, params: dict[str, str]
    ) -> None:
        parsed = parse_name(name)
        assert parsed.pattern == pattern
        assert list(parsed.params.items()) == list(params.items())

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "users",
            "users.",
            "users.*",
            "users.*.create",
            "users.U.",
            "users.U.created",
            "users.U.create.email",
            "users.U.update.colour",
            "users.U.update.email.x",
            "users.U.sessions.S.delete.x",
            "users.U.sessions.*",
            "users.a.b.create",
            "users.[userId].create",
            "orders.1.create",
            "databases.D.rows.R.create",
            "databases.D.tables.T.rows",
            "tablesdb.D.collections.C.create",
            "databases.D.tables.T.rows.R.create.x",
            "users.U/V.create",
            "users." + "x" * 500 + ".create",
        ],
    )
    def test_anything_else_raises(self, name: str) -> None:
        with pytest.raises(InvalidEventError, match="is not in the catalogue"):
            parse_name(name)

    @given(st.sampled_from(PATTERNS), st.data())
    def test_filled_pattern_round_trips(self, pattern: str, data: st.DataObject) -> None:
        name = pattern
        for param in placeholders(pattern):
            name = name.replace(f"[{param}]", data.draw(ids.filter(lambda text: text != "delete")))
        assert parse_name(name).pattern == pattern

    @given(st.text(alphabet="users.tamd*[]create", max_size=40))
    def test_any_text_is_parsed_or_raises(self, text: str) -> None:
        try:
            parsed = parse_name(text)
        except InvalidEventError:
            return
        name = parsed.pattern
        for param, value in parsed.params.items():
            name = name.replace(f"[{param}]", value)
        assert name == text


class TestParsePattern:
    @pytest.mark.parametrize("pattern", PATTERNS)
    def test_every_pattern_of_the_catalogue_parses(self, pattern: str) -> None:
        parts = parse_pattern(pattern)
        rebuilt = [f"{resource.word}.[{resource.param}]" for resource in parts.resources]
        assert ".".join([*rebuilt, *filter(None, [parts.action, parts.attribute])]) == pattern

    def test_placeholder_of_the_other_vocabulary_is_accepted(self) -> None:
        parts = parse_pattern("tablesdb.[databaseId].tables.[collectionId].rows.[documentId].create")
        assert parts.resources[-1].word == "rows"

    @pytest.mark.parametrize(
        "pattern", ["users.[teamId].create", "users.U.create", "users.[userId", "users.[userId].[x]", ""]
    )
    def test_anything_else_raises(self, pattern: str) -> None:
        with pytest.raises(InvalidEventError):
            parse_pattern(pattern)


class TestRetarget:
    @pytest.mark.parametrize(
        ("database_type", "pattern"),
        [
            (None, DOCUMENT_PATTERN),
            ("legacy", DOCUMENT_PATTERN),
            ("tablesdb", "tablesdb.[databaseId].tables.[collectionId].rows.[documentId].create"),
            (
                "documentsdb",
                "documentsdb.[databaseId].collections.[collectionId].documents.[documentId].create",
            ),
            ("vectorsdb", "vectorsdb.[databaseId].collections.[collectionId].documents.[documentId].create"),
        ],
    )
    def test_pattern_is_told_in_the_words_of_the_database(
        self, database_type: str | None, pattern: str
    ) -> None:
        assert retarget(DOCUMENT_PATTERN, database_type) == pattern

    @pytest.mark.parametrize("pattern", ["tablesdb.[databaseId].create", "users.[userId].create"])
    def test_other_patterns_stay(self, pattern: str) -> None:
        assert retarget(pattern, "documentsdb") == pattern


class TestValidateSubscription:
    @pytest.mark.parametrize(
        "name",
        [
            "users.*",
            "users.U",
            "users.*.create",
            "users.*.update.email",
            "users.*.sessions.*",
            "users.*.sessions.*.delete",
            "users.*.sessions.delete",
            "teams.T.memberships.*.update.status",
            "databases.*.collections.*.documents.*.upsert",
            "databases.D.tables.*.rows.*.upsert",
            "tablesdb.*.tables.*.rows.*.create",
            "presences.*.upsert",
            "messages.*.create",
        ],
    )
    def test_name_with_stars_for_ids_is_returned(self, name: str) -> None:
        assert validate_subscription(name) == name

    @pytest.mark.parametrize(
        "name",
        [
            "",
            "users",
            "*",
            "*.*.create",
            "users.*.*",
            "users.*.create.email",
            "users.*.*.S",
            "users.*.sessions.*.update.x",
            "users.U*.create",
            "databases.*.collections.*.documents.*.create.x",
            "webhook.*.create",
        ],
    )
    def test_anything_else_raises(self, name: str) -> None:
        with pytest.raises(InvalidEventError, match=r"^Event is not valid\.$"):
            validate_subscription(name)

    @given(st.sampled_from([pattern for pattern in PATTERNS if "memberships" not in pattern]), st.data())
    def test_every_expanded_name_can_be_subscribed_to(self, pattern: str, data: st.DataObject) -> None:
        """All but `teams.T.update.status`, which has no meaning of its own."""
        params = {param: data.draw(ids) for param in placeholders(pattern)}
        for name in expand(pattern, params):
            assert validate_subscription(name) == name


class TestLength:
    """Names come from strangers, in requests of a megabyte."""

    def test_longest_name_of_the_catalogue_fits(self) -> None:
        """Longest words, longest IDs."""
        name = max((re.sub(r"\[\w+\]", "x" * 255, pattern) for pattern in PATTERNS), key=len)
        assert len(name) > 3 * 255
        assert parse_name(name).params
        assert validate_subscription(name) == name

    @pytest.mark.parametrize("read", [parse_name, parse_pattern, validate_subscription])
    def test_longer_one_is_refused_before_it_is_looked_at(self, read: Callable[[str], object]) -> None:
        longest = "." * MAX_NAME_CHARS
        with pytest.raises(InvalidEventError, match=r"not in the catalogue|is not valid"):
            read(longest)
        with pytest.raises(InvalidEventError, match="at most 1024 characters, not 1025"):
            read(longest + ".")

    def test_longer_pattern_is_not_expanded(self) -> None:
        with pytest.raises(InvalidEventError, match="at most 1024 characters"):
            expand("teams.[teamId]." + "x" * MAX_NAME_CHARS, {"teamId": "t"})


class TestPlaceholders:
    def test_params_come_in_the_order_of_the_pattern(self) -> None:
        assert placeholders(ROW_PATTERN) == ("databaseId", "tableId", "rowId")
