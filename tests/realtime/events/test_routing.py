from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import InvalidEventError, InvalidPermissionError
from realtime.events.catalogue import walk
from realtime.events.routing import Route, route, route_pattern

ACTIONS = ("create", "update", "upsert", "delete")
READABLE = {"$permissions": ['read("any")', 'update("user:U")', 'read("team:T/owner")']}
READERS = ("any", "team:T/owner")

ROW_CHANNELS = (
    "documents",
    "databases.D.collections.C.documents",
    "databases.D.collections.C.documents.X",
    "rows",
    "databases.D.tables.C.rows",
    "databases.D.tables.C.rows.X",
    "tablesdb.D.tables.C.rows",
    "tablesdb.D.tables.C.rows.X",
)


def send(name: str, payload: dict[str, Any] | None = None, **options: Any) -> Route:
    return route(name, payload or {}, project_id="P", **{"project_team": "PT", **options})


def suffixed(channels: tuple[str, ...], action: str) -> tuple[str, ...]:
    return (*channels, *(f"{channel}.{action}" for channel in channels))


class TestChannelsAndRoles:
    """Wire specification 5.4, row by row; the sizes are those of 5.5."""

    @pytest.mark.parametrize("name", ["users.U.create", "users.U.update", "users.U.delete"])
    def test_users(self, name: str) -> None:
        sent = send(name)
        assert sent.channels == suffixed(("account", "account.U"), name.rpartition(".")[2])
        assert len(sent.channels) == 4
        assert (sent.roles, sent.project, sent.permissions_changed) == (("user:U",), "project", False)

    def test_attribute_of_a_user_narrows_to_its_action(self) -> None:
        assert send("users.U.update.email").channels == (
            "account",
            "account.U",
            "account.update",
            "account.U.update",
        )

    @pytest.mark.parametrize(
        "name",
        [
            "users.U.sessions.S.create",
            "users.U.sessions.S.delete",
            "users.U.sessions.delete",
            "users.U.recovery.R.create",
            "users.U.verification.V.update",
            "users.U.targets.T.delete",
            "users.U.tokens.T.create",
        ],
    )
    def test_what_belongs_to_a_user_gets_no_suffix(self, name: str) -> None:
        sent = send(name)
        assert sent.channels == ("account", "account.U")
        assert (sent.roles, sent.project, sent.permissions_changed) == (("user:U",), "project", False)

    @pytest.mark.parametrize(
        ("name", "action", "changed"),
        [
            ("teams.T.create", "create", True),
            ("teams.T.update", "update", False),
            ("teams.T.update.prefs", "update", False),
            ("teams.T.delete", "delete", False),
        ],
    )
    def test_teams(self, name: str, action: str, changed: bool) -> None:
        sent = send(name)
        assert sent.channels == suffixed(("teams", "teams.T"), action)
        assert (sent.roles, sent.project, sent.permissions_changed) == (("team:T",), "project", changed)

    @pytest.mark.parametrize(
        ("name", "action"),
        [
            ("teams.T.memberships.M.create", "create"),
            ("teams.T.memberships.M.update", "update"),
            ("teams.T.memberships.M.update.status", "update"),
            ("teams.T.memberships.M.delete", "delete"),
        ],
    )
    def test_memberships(self, name: str, action: str) -> None:
        sent = send(name)
        assert sent.channels == suffixed(("memberships", "memberships.M"), action)
        assert (sent.roles, sent.project, sent.permissions_changed) == (("team:T",), "project", True)

    @pytest.mark.parametrize(
        "prefix",
        [
            "databases.D.collections.C.documents.X",
            "databases.D.tables.C.rows.X",
            "tablesdb.D.tables.C.rows.X",
        ],
    )
    @pytest.mark.parametrize("action", ACTIONS)
    def test_rows_and_documents(self, prefix: str, action: str) -> None:
        sent = send(f"{prefix}.{action}", READABLE)
        assert sent.channels == suffixed(ROW_CHANNELS, action)
        assert len(sent.channels) == 16
        assert (sent.roles, sent.project, sent.permissions_changed) == (READERS, "project", False)

    @pytest.mark.parametrize("database", ["documentsdb", "vectorsdb"])
    def test_documents_of_other_databases(self, database: str) -> None:
        sent = send(f"{database}.D.collections.C.documents.X.update", READABLE)
        channels = (
            "documents",
            f"{database}.D.collections.C.documents",
            f"{database}.D.collections.C.documents.X",
        )
        assert sent.channels == suffixed(channels, "update")
        assert len(sent.channels) == 6
        assert (sent.roles, sent.project) == (READERS, "project")

    @pytest.mark.parametrize(
        "name",
        [
            "databases.D.collections.C.attributes.A.create",
            "databases.D.collections.C.indexes.I.delete",
            "databases.D.tables.T.columns.A.update",
            "databases.D.tables.T.indexes.I.create",
            "tablesdb.D.tables.T.columns.A.update",
            "documentsdb.D.collections.C.attributes.A.create",
            "vectorsdb.D.collections.C.indexes.I.create",
            "functions.F.deployments.E.update",
            "sites.S.deployments.E.create",
            "rules.R.create",
            "migrations.M.update",
        ],
    )
    def test_console(self, name: str) -> None:
        sent = send(name, READABLE)
        assert sent.channels == ("console", "projects.P")
        assert (sent.roles, sent.project, sent.permissions_changed) == (("team:PT",), "console", False)
        assert sent.team_only

    @pytest.mark.parametrize("name", ["projects.Q.ping", "projects.Q.update"])
    def test_projects(self, name: str) -> None:
        sent = send(name)
        assert sent.channels == ("console", "projects.Q")
        assert (sent.roles, sent.project) == (("team:PT",), "console")

    def test_console_without_a_team_has_no_readers(self) -> None:
        assert send("rules.R.create", project_team="").roles == ()

    def test_files(self) -> None:
        sent = send("buckets.B.files.F.create", READABLE)
        assert sent.channels == suffixed(("files", "buckets.B.files", "buckets.B.files.F"), "create")
        assert len(sent.channels) == 6
        assert (sent.roles, sent.project) == (READERS, "project")

    @pytest.mark.parametrize(
        ("action", "target"), [("create", "project"), ("update", "both"), ("delete", "project")]
    )
    def test_executions(self, action: str, target: str) -> None:
        """They are updated when they end, which is told by the worker."""
        sent = send(f"functions.F.executions.E.{action}", READABLE)
        assert sent.channels == (
            "console",
            "projects.P",
            "executions",
            "executions.E",
            "functions.F",
            f"executions.{action}",
            f"executions.E.{action}",
            f"functions.F.{action}",
        )
        assert (sent.roles, sent.project, sent.team_only) == (READERS, target, False)

    def test_execution_that_nobody_may_read(self) -> None:
        assert send("functions.F.executions.E.update", {"$permissions": []}).roles == ()

    def test_reports(self) -> None:
        sent = send("reports.R.create")
        assert sent.channels == ("reports", "reports.R")
        assert (sent.roles, sent.project) == (("team:PT",), "project")

    def test_insights(self) -> None:
        sent = send("reports.R.insights.I.update")
        assert sent.channels == ("reports", "reports.R", "reports.R.insights", "reports.R.insights.I")
        assert (sent.roles, sent.project) == (("team:PT",), "project")

    @pytest.mark.parametrize("action", ["upsert", "update", "delete"])
    def test_presences(self, action: str) -> None:
        sent = send(f"presences.N.{action}", READABLE)
        assert sent.channels == suffixed(("presences", "presences.N"), action)
        assert len(sent.channels) == 4
        assert (sent.roles, sent.project) == (READERS, "project")

    @pytest.mark.parametrize(
        "name",
        [
            "databases.D.create",
            "databases.D.tables.T.create",
            "databases.D.collections.C.delete",
            "tablesdb.D.update",
            "buckets.B.update",
            "functions.F.create",
            "functions.F.variables.V.create",
            "sites.S.update",
            "keys.K.create",
            "webhooks.W.create",
            "platforms.L.create",
            "messages.M.create",
            "topics.T.create",
            "topics.T.subscribers.S.create",
            "providers.R.create",
            "schedules.S.create",
        ],
    )
    def test_everything_else_is_not_for_realtime(self, name: str) -> None:
        sent = send(name, READABLE)
        assert (sent.channels, sent.roles, sent.project, sent.permissions_changed) == (
            (),
            (),
            "project",
            False,
        )

    def test_the_documented_row_update(self) -> None:
        """Every channel of the published example of a row's update is among them."""
        payload = {"$tableId": "sample", "$databaseId": "default", "$permissions": []}
        sent = send("databases.default.tables.sample.rows.63c98b9baea0938e1206.update", payload)
        assert set(sent.channels) >= {
            "rows",
            "databases.default.tables.sample.rows",
            "databases.default.tables.sample.rows.63c98b9baea0938e1206",
        }

    def test_name_without_action_has_no_suffixed_channels(self) -> None:
        assert send("teams.T").channels == ("teams", "teams.T")

    def test_id_that_is_a_word_is_not_mistaken_for_it(self) -> None:
        assert send("reports.files.create").channels == ("reports", "reports.files")

    def test_id_that_is_an_action_gives_each_name_once(self) -> None:
        """A document `create` and the narrowed channel of its collection share a name (wire spec 5.5)."""
        channels = send("documentsdb.D.collections.C.documents.create.create").channels
        assert len(channels) == len(set(channels)) == 5


class TestIdsFromThePayload:
    @pytest.mark.parametrize("member", ["$tableId", "$collectionId"])
    def test_table_comes_from_the_payload(self, member: str) -> None:
        sent = send("databases.D.tables.T.rows.X.create", {member: "C"})
        assert sent.channels[: len(ROW_CHANNELS)] == ROW_CHANNELS

    def test_table_goes_before_collection(self) -> None:
        sent = send("databases.D.tables.T.rows.X.create", {"$collectionId": "other", "$tableId": "C"})
        assert sent.channels[: len(ROW_CHANNELS)] == ROW_CHANNELS

    def test_bucket_comes_from_the_payload(self) -> None:
        sent = send("buckets.B.files.F.update", {"bucketId": "other"})
        assert "buckets.other.files.F" in sent.channels

    def test_function_comes_from_the_payload(self) -> None:
        assert "functions.other" in send("functions.F.executions.E.create", {"resourceId": "other"}).channels

    @pytest.mark.parametrize("value", [None, "", 5, "no id", "a\nb", ["T"]])
    def test_what_is_no_id_is_taken_from_the_name(self, value: Any) -> None:
        sent = send("databases.D.tables.C.rows.X.create", {"$tableId": value})
        assert sent.channels[: len(ROW_CHANNELS)] == ROW_CHANNELS


class TestReaders:
    def test_roles_win(self) -> None:
        sent = send(
            "teams.T.create", READABLE, roles=["users", "any", "users"], permissions=['read("label:a")']
        )
        assert sent.roles == ("users", "any")

    def test_permissions_come_next(self) -> None:
        sent = send("teams.T.create", READABLE, permissions=['read("label:a")', 'update("any")'])
        assert sent.roles == ("label:a",)

    @pytest.mark.parametrize("given_", [{"roles": []}, {"permissions": []}])
    def test_empty_means_nobody(self, given_: dict[str, list[str]]) -> None:
        assert send("teams.T.create", READABLE, **given_).roles == ()

    @pytest.mark.parametrize("permissions", [None, "any", {}, 1])
    def test_payload_without_permissions_gives_nobody(self, permissions: Any) -> None:
        assert send("presences.N.upsert", {"$permissions": permissions}).roles == ()

    def test_named_readers_are_not_the_team_only(self) -> None:
        assert not send("rules.R.create", roles=["users"]).team_only
        assert not send("rules.R.create", permissions=[]).team_only

    @pytest.mark.parametrize(
        "given_", [{"roles": ["nobody"]}, {"permissions": ["read(any)"]}, {"project_team": "a b"}]
    )
    def test_malformed_raises(self, given_: dict[str, Any]) -> None:
        with pytest.raises(InvalidPermissionError):
            send("rules.R.create", **given_)

    def test_malformed_permission_in_the_payload_raises(self) -> None:
        with pytest.raises(InvalidPermissionError):
            send("presences.N.upsert", {"$permissions": [1]})


class TestRoute:
    def test_unknown_event_raises(self) -> None:
        with pytest.raises(InvalidEventError):
            send("orders.O.create")

    @pytest.mark.parametrize("project", ["", "a b", "a\nb"])
    def test_project_that_is_no_id_raises(self, project: str) -> None:
        with pytest.raises(InvalidEventError, match="project"):
            route("teams.T.create", {}, project_id=project)

    def test_params_of_the_other_vocabulary(self) -> None:
        sent = route_pattern(
            "tablesdb.[databaseId].tables.[collectionId].rows.[documentId].create",
            {"databaseId": "D", "collectionId": "C", "documentId": "X"},
            {},
            project_id="P",
        )
        assert sent.channels[: len(ROW_CHANNELS)] == ROW_CHANNELS

    def test_id_with_a_dot_stands_in_the_channels_as_it_is(self) -> None:
        sent = route_pattern("teams.[teamId].create", {"teamId": "a.b"}, {}, project_id="P")
        assert sent.channels == ("teams", "teams.a.b", "teams.create", "teams.a.b.create")
        assert sent.roles == ("team:a.b",)

    @given(st.sampled_from(list(walk())), st.data())
    def test_suffixes_agree_with_the_rule_on_whole_names(self, path: Any, data: st.DataObject) -> None:
        """Wire specification 5.5, applied to the concrete channels."""
        resource = path[-1]
        action = data.draw(st.sampled_from([action for action in resource.actions if action != "sessions"]))
        name = ".".join(f"{each.word}.i{depth}" for depth, each in enumerate(path)) + f".{action}"
        channels = send(name).channels
        base = [channel for channel in channels if channel.rpartition(".")[2] not in ACTIONS]
        words = {
            *("documents", "rows", "files", "executions", "functions"),
            *("account", "teams", "memberships", "presences"),
        }
        expected = list(base)
        if action in ACTIONS and (path[0].word != "users" or len(path) == 1):
            expected += [f"{each}.{action}" for each in base if words & set(each.split(".")[-2:])]
        assert list(channels) == expected
