"""Acts about rows: a table, who may read, change and delete what is in it, bulk changes and transactions."""

import json
from typing import Any

from tests.story.cast import ADA_KEEPS, POSTS, Story


async def make_a_table(story: Story) -> None:
    await story.backend.call("tablesDB.create", databaseId="main", name="Main")
    await story.backend.call(
        "tablesDB.createTable", **POSTS, name="Posts", permissions=['create("users")'], rowSecurity=True
    )
    await story.backend.call("tablesDB.createStringColumn", **POSTS, key="title", size=100, required=True)
    await story.backend.call(
        "tablesDB.createIntegerColumn", **POSTS, key="votes", required=False, xdefault=0, min=0, max=10
    )
    await story.backend.call("tablesDB.createIndex", **POSTS, key="by_title", type="key", columns=["title"])
    table = await story.backend.call("tablesDB.getTable", **POSTS)
    assert [column["status"] for column in table["columns"]] == ["available", "available"]


async def write_rows(story: Story) -> None:
    row = await story.add_row("default")
    assert row["$permissions"] == ['read("user:ada")', *ADA_KEEPS]
    await story.add_row("for-users", 'read("users")')
    await story.add_row("for-all", 'read("any")')
    await story.add_row("for-verified", 'read("users/verified")')
    await _change(story, "for-users", data={"title": "changed"})
    await _change(story, "for-users", permissions=['read("user:ada")', *ADA_KEEPS])
    await _change(story, "for-users", data={"title": "changed unseen"})
    await _change(story, "for-users", permissions=['read("users")', *ADA_KEEPS])
    row = await story.ada.call(
        "tablesDB.incrementRowColumn", **POSTS, rowId="for-users", column="votes", value=2
    )
    assert row["votes"] == 2
    await story.ada.call(
        "tablesDB.upsertRow",
        **POSTS,
        rowId="upserted",
        data={"title": "upserted"},
        permissions=['read("any")', *ADA_KEEPS],
    )
    await story.ada.call("tablesDB.deleteRow", **POSTS, rowId="for-all")
    rows = await story.bob.call("tablesDB.listRows", **POSTS)
    assert sorted(row["$id"] for row in rows["rows"]) == ["for-users", "upserted"]
    documents = await story.bob.call(
        "databases.listDocuments",
        databaseId="main",
        collectionId="posts",
        queries=[json.dumps({"method": "equal", "attribute": "title", "values": ["upserted"]})],
    )
    assert [document["$id"] for document in documents["documents"]] == ["upserted"]


async def break_rules(story: Story) -> None:
    """Nothing of this is an event."""
    await story.refuse(
        story.bob,
        "tablesDB.updateRow",
        "user_unauthorized",
        **POSTS,
        rowId="for-users",
        data={"title": "bob's"},
    )
    await story.refuse(story.bob, "tablesDB.getRow", "row_not_found", **POSTS, rowId="default")
    for_ada = {"data": {"title": "x"}, "permissions": ['read("user:ada")']}
    await story.refuse(
        story.bob, "tablesDB.createRow", "user_unauthorized", **POSTS, rowId="granted", **for_ada
    )
    await story.refuse(
        story.visitor, "tablesDB.createRow", "user_unauthorized", **POSTS, rowId="guest", data={"title": "x"}
    )
    await story.refuse(
        story.ada, "tablesDB.createRow", "row_invalid_structure", **POSTS, rowId="untitled", data={"votes": 1}
    )


async def write_in_bulk(story: Story) -> None:
    rows = [
        {"$id": f"bulk-{number}", "title": "bulk", "$permissions": ['read("any")']} for number in range(2)
    ]
    await story.backend.call("tablesDB.createRows", **POSTS, rows=rows)
    only_bulk = [json.dumps({"method": "equal", "attribute": "title", "values": ["bulk"]})]
    changed = await story.backend.call("tablesDB.updateRows", **POSTS, data={"votes": 5}, queries=only_bulk)
    assert [row["votes"] for row in changed["rows"]] == [5, 5]
    await story.backend.call("tablesDB.deleteRows", **POSTS, queries=only_bulk)


async def stage_a_transaction(story: Story) -> None:
    for outcome in "commit", "rollback":
        transaction = await story.ada.call("tablesDB.createTransaction")
        operations = [
            {
                **POSTS,
                "action": "create",
                "rowId": f"{outcome}-{number}",
                "data": {"title": "staged", "$permissions": ['read("users")', *ADA_KEEPS]},
            }
            for number in range(2)
        ]
        await story.ada.call(
            "tablesDB.createOperations", transactionId=transaction["$id"], operations=operations
        )
        await story.add_row(f"before-{outcome}", 'read("users")')
        await story.ada.call(
            "tablesDB.updateTransaction", transactionId=transaction["$id"], **{outcome: True}
        )


async def _change(story: Story, row_id: str, **changes: Any) -> None:
    await story.ada.call("tablesDB.updateRow", **POSTS, rowId=row_id, **changes)
