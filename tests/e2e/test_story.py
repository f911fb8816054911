"""The whole system in one story: people with unmodified SDKs sign up, write, invite each other and leave.

Bob and a visitor watch everything that they may from the beginning. In the end each has been shown exactly what they
were allowed to see at the moment when it happened, in its order, and nothing else.
"""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.callers import SDK_FOLDER, SERVER, Caller, RefusedError, callers
from tests.mailbox import Mailbox

if TYPE_CHECKING:
    from tests.e2e.conftest import Server

CHANNELS = ("rows", "documents", "account", "teams", "memberships", "files", "executions", "presences")
PASSWORD = "correct horse battery"
POSTS = {"databaseId": "main", "tableId": "posts"}
ADA_KEEPS = ['update("user:ada")', 'delete("user:ada")']


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        yield mailbox


class Story:
    """Who takes part, and what they do, act by act."""

    def __init__(self, backend: Caller, ada: Caller, bob: Caller, visitor: Caller, mailbox: Mailbox) -> None:
        self.backend = backend
        self.ada = ada
        self.bob = bob
        self.visitor = visitor
        self.mailbox = mailbox
        # What IDs that the server made are called in the names of events.
        self.known: dict[str, str] = {}

    async def run(self) -> None:
        await self.make_a_table()
        await self.sign_up()
        await self.watch()
        await self.write_rows()
        await self.break_rules()
        await self.write_in_bulk()
        await self.stage_a_transaction()
        await self.form_a_team()
        await self.change_a_role()
        await self.remove_a_member()
        await self.dissolve_a_team()
        await self.log_out()
        await self.finish()

    def seen_by(self, watcher: Caller) -> list[str]:
        """Return the first names of what somebody was shown, without what they all begin with."""
        return [self._shortened(event["events"][0]) for event in watcher.events]

    def _shortened(self, name: str) -> str:
        for made, known in self.known.items():
            name = name.replace(made, known)
        return name.removeprefix("tablesdb.main.tables.posts.")

    async def make_a_table(self) -> None:
        await self.backend.call("tablesDB.create", databaseId="main", name="Main")
        await self.backend.call(
            "tablesDB.createTable", **POSTS, name="Posts", permissions=['create("users")'], rowSecurity=True
        )
        await self.backend.call("tablesDB.createStringColumn", **POSTS, key="title", size=100, required=True)
        await self.backend.call(
            "tablesDB.createIntegerColumn", **POSTS, key="votes", required=False, xdefault=0, min=0, max=10
        )
        await self.backend.call(
            "tablesDB.createIndex", **POSTS, key="by_title", type="key", columns=["title"]
        )
        table = await self.backend.call("tablesDB.getTable", **POSTS)
        assert [column["status"] for column in table["columns"]] == ["available", "available"]

    async def sign_up(self) -> None:
        for person, name in (self.ada, "ada"), (self.bob, "bob"):
            address = f"{name}@example.com"
            account = await person.call(
                "account.create", userId=name, email=address, password=PASSWORD, name=name.title()
            )
            assert account["$id"] == name
            session = await person.call(
                "account.createEmailPasswordSession", email=address, password=PASSWORD
            )
            assert session["userId"] == name
            self.known[session["$id"]] = f"session-of-{name}"
        await self.ada.call("account.createEmailVerification", url="http://localhost/verify")
        link = await self.mailbox.link_to("ada@example.com")
        await self.ada.call("account.updateEmailVerification", userId="ada", secret=link["secret"])
        account = await self.ada.call("account.get")
        assert account["emailVerification"]

    async def watch(self) -> None:
        await self.bob.watch(*CHANNELS)
        await self.visitor.watch(*CHANNELS)
        await self.ada.call("account.updateName", name="Ada Lovelace")
        await self.bob.call("account.updatePrefs", prefs={"theme": "dark"})

    async def write_rows(self) -> None:
        row = await self._add("default")
        assert row["$permissions"] == ['read("user:ada")', *ADA_KEEPS]
        await self._add("for-users", 'read("users")')
        await self._add("for-all", 'read("any")')
        await self._add("for-verified", 'read("users/verified")')
        await self._change("for-users", data={"title": "changed"})
        await self._change("for-users", permissions=['read("user:ada")', *ADA_KEEPS])
        await self._change("for-users", data={"title": "changed unseen"})
        await self._change("for-users", permissions=['read("users")', *ADA_KEEPS])
        row = await self.ada.call(
            "tablesDB.incrementRowColumn", **POSTS, rowId="for-users", column="votes", value=2
        )
        assert row["votes"] == 2
        await self.ada.call(
            "tablesDB.upsertRow",
            **POSTS,
            rowId="upserted",
            data={"title": "upserted"},
            permissions=['read("any")', *ADA_KEEPS],
        )
        await self.ada.call("tablesDB.deleteRow", **POSTS, rowId="for-all")
        rows = await self.bob.call("tablesDB.listRows", **POSTS)
        assert sorted(row["$id"] for row in rows["rows"]) == ["for-users", "upserted"]
        documents = await self.bob.call(
            "databases.listDocuments",
            databaseId="main",
            collectionId="posts",
            queries=[json.dumps({"method": "equal", "attribute": "title", "values": ["upserted"]})],
        )
        assert [document["$id"] for document in documents["documents"]] == ["upserted"]

    async def break_rules(self) -> None:
        """Nothing of this is an event."""
        await self._refuse(
            self.bob, "tablesDB.updateRow", "user_unauthorized", rowId="for-users", data={"title": "bob's"}
        )
        await self._refuse(self.bob, "tablesDB.getRow", "row_not_found", rowId="default")
        for_ada = {"data": {"title": "x"}, "permissions": ['read("user:ada")']}
        await self._refuse(self.bob, "tablesDB.createRow", "user_unauthorized", rowId="granted", **for_ada)
        await self._refuse(
            self.visitor, "tablesDB.createRow", "user_unauthorized", rowId="guest", data={"title": "x"}
        )
        await self._refuse(
            self.ada, "tablesDB.createRow", "row_invalid_structure", rowId="untitled", data={"votes": 1}
        )

    async def write_in_bulk(self) -> None:
        rows = [
            {"$id": f"bulk-{number}", "title": "bulk", "$permissions": ['read("any")']} for number in range(2)
        ]
        await self.backend.call("tablesDB.createRows", **POSTS, rows=rows)
        only_bulk = [json.dumps({"method": "equal", "attribute": "title", "values": ["bulk"]})]
        changed = await self.backend.call(
            "tablesDB.updateRows", **POSTS, data={"votes": 5}, queries=only_bulk
        )
        assert [row["votes"] for row in changed["rows"]] == [5, 5]
        await self.backend.call("tablesDB.deleteRows", **POSTS, queries=only_bulk)

    async def stage_a_transaction(self) -> None:
        for outcome in "commit", "rollback":
            transaction = await self.ada.call("tablesDB.createTransaction")
            operations = [
                {
                    **POSTS,
                    "action": "create",
                    "rowId": f"{outcome}-{number}",
                    "data": {"title": "staged", "$permissions": ['read("users")', *ADA_KEEPS]},
                }
                for number in range(2)
            ]
            await self.ada.call(
                "tablesDB.createOperations", transactionId=transaction["$id"], operations=operations
            )
            await self._add(f"before-{outcome}", 'read("users")')
            await self.ada.call(
                "tablesDB.updateTransaction", transactionId=transaction["$id"], **{outcome: True}
            )

    async def form_a_team(self) -> None:
        await self.ada.call("teams.create", teamId="editors", name="Editors")
        await self._add("before-bob", 'read("team:editors")')
        membership = await self.ada.call(
            "teams.createMembership",
            teamId="editors",
            roles=["writer"],
            email="bob@example.com",
            url="http://localhost/join",
        )
        assert not membership["confirm"]
        self.known[membership["$id"]] = "membership-of-bob"
        self.membership = {"teamId": "editors", "membershipId": membership["$id"]}
        link = await self.mailbox.link_to("bob@example.com")
        assert link["membershipId"] == membership["$id"]
        joined = await self.bob.call(
            "teams.updateMembershipStatus", **self.membership, userId="bob", secret=link["secret"]
        )
        assert joined["confirm"]
        await self._add("for-editors", 'read("team:editors")')

    async def change_a_role(self) -> None:
        await self.ada.call("teams.updateMembership", **self.membership, roles=["chief"])
        for role in "chief", "writer":
            await self.backend.call(
                "tablesDB.createRow",
                **POSTS,
                rowId=f"for-{role}",
                data={"title": role},
                permissions=[f'read("team:editors/{role}")'],
            )

    async def remove_a_member(self) -> None:
        await self.ada.call("teams.deleteMembership", **self.membership)
        await self._add("after-bob", 'read("team:editors")')
        await self.ada.call("teams.delete", teamId="editors")

    async def dissolve_a_team(self) -> None:
        """Who is added by a server is a member at once; what ends the team is told to who was in it."""
        await self.backend.call("teams.create", teamId="readers", name="Readers")
        membership = await self.backend.call(
            "teams.createMembership", teamId="readers", roles=["reader"], userId="bob"
        )
        assert membership["confirm"]
        self.known[membership["$id"]] = "second-membership-of-bob"
        await self.backend.call("teams.delete", teamId="readers")

    async def log_out(self) -> None:
        await self.bob.call("account.deleteSession", sessionId="current")
        await self._add("after-logout", 'read("users")')
        with pytest.raises(RefusedError) as refused:
            await self.bob.call("account.get")
        assert refused.value.code == 401

    async def finish(self) -> None:
        await self._add("end", 'read("any")')
        for watcher in self.bob, self.visitor:
            await watcher.until_event("tablesdb.main.tables.posts.rows.end.create")

    async def _add(self, row_id: str, *permissions: str) -> Any:
        given = {"permissions": [*permissions, *ADA_KEEPS]} if permissions else {}
        return await self.ada.call(
            "tablesDB.createRow", **POSTS, rowId=row_id, data={"title": row_id}, **given
        )

    async def _change(self, row_id: str, **changes: Any) -> None:
        await self.ada.call("tablesDB.updateRow", **POSTS, rowId=row_id, **changes)

    async def _refuse(self, person: Caller, call: str, error_type: str, **arguments: Any) -> None:
        with pytest.raises(RefusedError) as refused:
            await person.call(call, **POSTS, **arguments)
        assert refused.value.type == error_type


SEEN_BY_ALL = [
    "rows.for-all.create",
    "rows.upserted.upsert",
    "rows.for-all.delete",
    "rows.bulk-0.create",
    "rows.bulk-1.create",
    "rows.bulk-0.update",
    "rows.bulk-1.update",
    "rows.bulk-0.delete",
    "rows.bulk-1.delete",
    "rows.end.create",
]

SEEN_BY_BOB = [
    "users.bob.update",  # his preferences
    "rows.for-users.create",
    "rows.for-all.create",
    "rows.for-users.update",
    # Not the change that took his right to read it away, nor what followed.
    "rows.for-users.update",
    "rows.for-users.update",
    "rows.upserted.upsert",
    "rows.for-all.delete",
    "rows.bulk-0.create",
    "rows.bulk-1.create",
    "rows.bulk-0.update",
    "rows.bulk-1.update",
    "rows.bulk-0.delete",
    "rows.bulk-1.delete",
    # What was staged before it comes after it.
    "rows.before-commit.create",
    "rows.commit-0.create",
    "rows.commit-1.create",
    "rows.before-rollback.create",
    "users.bob.update",  # his address is verified, since he had the mail
    "teams.editors.memberships.membership-of-bob.update.status",
    "rows.for-editors.create",
    "teams.editors.memberships.membership-of-bob.update",
    "rows.for-chief.create",
    "teams.editors.memberships.membership-of-bob.delete",
    "teams.readers.memberships.second-membership-of-bob.create",
    "teams.readers.delete",
    "users.bob.sessions.session-of-bob.delete",
    "rows.end.create",
]


@pytest.fixture
def server(
    require: Callable[[bool, str], None],
    serve_dev: Callable[..., "Server"],
    database_url: str,
    mailbox: Mailbox,
) -> Iterator["Server"]:
    """A server of this story alone, on either kind of database."""
    installed = (SDK_FOLDER / "node_modules" / SERVER).is_dir()
    require(installed, "the SDKs are not installed (make test-e2e installs them)")
    server = serve_dev(REALTIME_DATABASE_URL=database_url, REALTIME_SMTP_URL=mailbox.url)
    yield server
    server.stop()


async def test_everybody_sees_what_they_may_and_nothing_else(server: "Server", mailbox: Mailbox) -> None:
    keys = [server.key, None, None, None]
    async with callers(server.endpoint, server.project, keys) as (backend, ada, bob, visitor):
        story = Story(backend, ada, bob, visitor, mailbox)
        await story.run()
        assert not any("secret" in event["payload"] and event["payload"]["secret"] for event in bob.events)
        assert story.seen_by(bob) == SEEN_BY_BOB
        assert story.seen_by(visitor) == SEEN_BY_ALL
