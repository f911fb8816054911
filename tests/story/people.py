"""Acts about people: they sign up, watch, work in teams, and leave."""

import pytest

from tests.callers import RefusedError
from tests.story.cast import CHANNELS, PASSWORD, POSTS, Story


async def sign_up(story: Story) -> None:
    for person, name in (story.ada, "ada"), (story.bob, "bob"), (story.carol, "carol"):
        address = f"{name}@example.com"
        account = await person.call(
            "account.create", userId=name, email=address, password=PASSWORD, name=name.title()
        )
        assert account["$id"] == name
        session = await person.call("account.createEmailPasswordSession", email=address, password=PASSWORD)
        assert session["userId"] == name
        story.known[session["$id"]] = f"session-of-{name}"
    await story.ada.call("account.createEmailVerification", url="http://localhost/verify")
    link = await story.mailbox.link_to("ada@example.com")
    await story.ada.call("account.updateEmailVerification", userId="ada", secret=link["secret"])
    account = await story.ada.call("account.get")
    assert account["emailVerification"]


async def watch(story: Story) -> None:
    await story.bob.watch(*CHANNELS)
    await story.visitor.watch(*CHANNELS)
    await story.ada.call("account.updateName", name="Ada Lovelace")
    await story.bob.call("account.updatePrefs", prefs={"theme": "dark"})


async def form_a_team(story: Story) -> dict[str, str]:
    """Return what names Bob's membership."""
    await story.ada.call("teams.create", teamId="editors", name="Editors")
    await story.add_row("before-bob", 'read("team:editors")')
    membership = await story.ada.call(
        "teams.createMembership",
        teamId="editors",
        roles=["writer"],
        email="bob@example.com",
        url="http://localhost/join",
    )
    assert not membership["confirm"]
    story.known[membership["$id"]] = "membership-of-bob"
    named = {"teamId": "editors", "membershipId": membership["$id"]}
    link = await story.mailbox.link_to("bob@example.com")
    assert link["membershipId"] == membership["$id"]
    joined = await story.bob.call(
        "teams.updateMembershipStatus", **named, userId="bob", secret=link["secret"]
    )
    assert joined["confirm"]
    await story.add_row("for-editors", 'read("team:editors")')
    return named


async def change_a_role(story: Story, membership: dict[str, str]) -> None:
    await story.ada.call("teams.updateMembership", **membership, roles=["chief"])
    for role in "chief", "writer":
        await story.backend.call(
            "tablesDB.createRow",
            **POSTS,
            rowId=f"for-{role}",
            data={"title": role},
            permissions=[f'read("team:editors/{role}")'],
        )


async def remove_a_member(story: Story, membership: dict[str, str]) -> None:
    await story.ada.call("teams.deleteMembership", **membership)
    await story.add_row("after-bob", 'read("team:editors")')
    await story.ada.call("teams.delete", teamId="editors")


async def dissolve_a_team(story: Story) -> None:
    """Who is added by a server is a member at once; what ends the team is told to who was in it."""
    await story.backend.call("teams.create", teamId="readers", name="Readers")
    membership = await story.backend.call(
        "teams.createMembership", teamId="readers", roles=["reader"], userId="bob"
    )
    assert membership["confirm"]
    story.known[membership["$id"]] = "second-membership-of-bob"
    await story.backend.call("teams.delete", teamId="readers")


async def log_out(story: Story) -> None:
    await story.bob.call("account.deleteSession", sessionId="current")
    await story.add_row("after-logout", 'read("users")')
    with pytest.raises(RefusedError) as refused:
        await story.bob.call("account.get")
    assert refused.value.code == 401


async def finish(story: Story) -> None:
    await story.add_row("end", 'read("any")')
    for watcher in story.bob, story.visitor:
        await watcher.until_event("tablesdb.main.tables.posts.rows.end.create")
