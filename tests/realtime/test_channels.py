import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.channels import Shape, convert, is_wildcard, rebind, shape_of, star
from realtime.events.catalogue import channel_templates

ACTIONS = ["create", "update", "upsert", "delete"]
names = st.sampled_from(
    [
        "account",
        "account.U",
        "account.V",
        "account.create",
        "account.update",
        "account.U.update",
        "account.x.y",
        "rows",
    ]
)

WILDCARDS = [
    "tablesdb.db.tables.*.rows",
    "tablesdb.*.tables.*.rows.*",
    "databases.*.collections.*.documents.*.create",
    "databases.main.tables.*.rows",
    "databases.main.tables.posts.rows.*",
    "documentsdb.*.collections.c.documents.upsert",
    "executions.*",
    "executions.*.update",
    "functions.*",
    "teams.*",
    "teams.*.update",
    "memberships.*",
    "buckets.*.files.*.create",
    "presences.*.delete",
    "reports.*.insights.*",
]
PLAIN = [
    "",
    "*",
    "rows",
    "rows.*",
    "rows.create",
    "documents.*",
    "files.*",
    "account",
    "account.*",
    "account.*.update",
    "account.U",
    "po*",
    "teams.re*",
    "teams.*x",
    "*.x",
    "*.*",
    "teams.T.*",
    "teams.*.updated",
    "teams.*.update.*",
    "orders.*",
    "users.*",
    "databases..tables.*.rows",
    "databases.*.tables.*",
    "databases.*.tables.*.documents",
    "buckets.*.files.*.create.*",
    "reports.*.insights.*.create",
]


class TestConvert:
    def test_user_gains_the_own_account_at_the_end(self) -> None:
        assert convert(["account", "documents", "account.123"], "U") == ["account", "documents", "account.U"]

    def test_account_alone(self) -> None:
        assert convert(["account"], "U") == ["account", "account.U"]
        assert convert(["account"], "") == ["account"]

    @pytest.mark.parametrize("action", ACTIONS)
    def test_account_action_becomes_the_users(self, action: str) -> None:
        assert convert([f"account.{action}", "rows"], "U") == ["rows", f"account.U.{action}"]

    @pytest.mark.parametrize("action", ACTIONS)
    def test_account_action_of_a_guest_is_kept_literally(self, action: str) -> None:
        assert convert([f"account.{action}", "rows"], "") == [f"account.{action}", "rows"]

    @pytest.mark.parametrize("user_id", ["", "U"])
    @pytest.mark.parametrize("name", ["account.V", "account.U", "account.U.update", "account.", "account.*"])
    def test_any_other_account_is_removed(self, name: str, user_id: str) -> None:
        assert convert([name, "rows"], user_id) == ["rows"]

    @pytest.mark.parametrize("asked", [["account", "account.U"], ["account.U", "account"]])
    def test_own_account_by_id_does_not_take_it_away(self, asked: list[str]) -> None:
        """Deviates from a quirk of Appwrite, where the order decides."""
        assert convert(asked, "U") == ["account", "account.U"]

    def test_repeated_names_collapse_to_the_first(self) -> None:
        assert convert(["rows", "files", "rows"], "") == ["rows", "files"]

    def test_unknown_names_are_kept(self) -> None:
        assert convert(["accounts", "foo.bar", "account_x"], "U") == ["accounts", "foo.bar", "account_x"]

    def test_nothing_gives_nothing(self) -> None:
        assert convert([], "U") == []

    @given(st.lists(names), st.sampled_from(["", "U"]))
    def test_no_account_but_the_own_is_joined(self, asked: list[str], user_id: str) -> None:
        channels = convert(asked, user_id)
        own = f"account.{user_id}" if user_id else "account"
        allowed = {"rows", "account", own, *(f"{own}.{action}" for action in ACTIONS)}
        assert set(channels) <= allowed
        assert len(channels) == len(set(channels))


class TestRebind:
    @pytest.mark.parametrize("action", ACTIONS)
    def test_action_of_a_guest_becomes_the_users(self, action: str) -> None:
        assert rebind(f"account.{action}", "", "U") == f"account.U.{action}"

    def test_account_of_a_guest_gains_nothing(self) -> None:
        assert rebind("account", "", "U") == "account"

    @pytest.mark.parametrize("suffix", ["", *(f".{action}" for action in ACTIONS)])
    def test_channel_of_the_old_user_becomes_the_new_users(self, suffix: str) -> None:
        assert rebind(f"account.U{suffix}", "U", "V") == f"account.V{suffix}"

    @pytest.mark.parametrize(
        "channel", ["account", "account.create", "account.UU", "account.U.x", "account.W", "rows", "teams.U"]
    )
    def test_other_channels_stay(self, channel: str) -> None:
        assert rebind(channel, "U", "V") == channel

    @pytest.mark.parametrize(("old", "new"), [("U", ""), ("", ""), ("U", "U")])
    def test_without_a_new_user_nothing_changes(self, old: str, new: str) -> None:
        assert rebind("account.U", old, new) == "account.U"
        assert rebind("account.create", old, new) == "account.create"

    @given(st.lists(names.filter(lambda name: name != "account")))
    def test_is_what_the_new_user_would_have_joined(self, asked: list[str]) -> None:
        rebound = [rebind(channel, "old", "new") for channel in convert(asked, "old")]
        assert rebound == convert(asked, "new")


class TestIsWildcard:
    @pytest.mark.parametrize("channel", WILDCARDS)
    def test_star_for_an_id_of_a_known_channel(self, channel: str) -> None:
        assert is_wildcard(channel)

    @pytest.mark.parametrize("channel", PLAIN)
    def test_anything_else_is_a_plain_name(self, channel: str) -> None:
        assert not is_wildcard(channel)

    @pytest.mark.parametrize("template", channel_templates())
    def test_every_channel_but_accounts_may_have_all_ids_starred(self, template: str) -> None:
        starred = ".".join("*" if part.startswith("[") else part for part in template.split("."))
        assert is_wildcard(starred) == ("*" in starred and not starred.startswith("account"))


class TestStar:
    def test_shape_tells_where_the_stars_are(self) -> None:
        assert shape_of("databases.*.tables.T.rows.*") == Shape(6, (1, 5))

    def test_channel_of_the_same_length_is_starred(self) -> None:
        assert star(["databases", "D", "tables", "T", "rows"], Shape(5, (3,))) == "databases.D.tables.*.rows"

    @pytest.mark.parametrize(
        "channel", ["rows", "databases.D.tables.T.rows.R", "databases.D.E.tables.T.rows"]
    )
    def test_channel_of_another_length_gives_none(self, channel: str) -> None:
        assert star(channel.split("."), Shape(5, (3,))) is None

    def test_segments_are_left_as_they_are(self) -> None:
        segments = ["teams", "T"]
        star(segments, Shape(2, (1,)))
        assert segments == ["teams", "T"]

    @given(st.sampled_from(channel_templates()), st.data())
    def test_finds_exactly_the_wildcards_that_match(self, template: str, data: st.DataObject) -> None:
        """Against a plain comparison, segment by segment."""
        ids = st.sampled_from(["a", "b"])
        channel = [data.draw(ids) if part.startswith("[") else part for part in template.split(".")]
        other = data.draw(st.sampled_from(channel_templates())).split(".")
        wildcard = [data.draw(st.sampled_from(["a", "b", "*"])) if part[0] == "[" else part for part in other]
        matches = len(wildcard) == len(channel) and all(
            ours in ("*", theirs) for ours, theirs in zip(wildcard, channel, strict=True)
        )
        name = ".".join(wildcard)
        assert (star(channel, shape_of(name)) == name) == matches
