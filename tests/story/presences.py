"""Two people are there; one of them vanishes."""

from typing import Any

from tests.story.cast import Story


async def appear_and_vanish(story: Story) -> None:
    """Carol's process is killed: nothing says goodbye for her."""
    for person, name in (story.bob, "bob"), (story.carol, "carol"):
        said = {"status": "here", "permissions": ['read("users")'], "metadata": {"name": name.title()}}
        await person.call("realtime.upsertPresence", presenceId=f"presence-of-{name}", **said)
        await story.bob.until_event(f"presences.presence-of-{name}.upsert")
    assert await _present(story) == {"bob": "here", "carol": "here"}
    await story.refuse(story.visitor, "presences.list", "general_unauthorized_scope")
    await story.carol.aclose()
    await story.bob.until_event("presences.presence-of-carol.delete")
    assert await _present(story) == {"bob": "here"}


async def _present(story: Story) -> dict[str, str]:
    listed: dict[str, Any] = await story.bob.call("presences.list")
    return {presence["userId"]: presence["status"] for presence in listed["presences"]}
