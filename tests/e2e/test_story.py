"""The whole system in one story: people with unmodified SDKs sign up, write, share files, invite each other and leave.

Bob and a visitor watch everything that they may from the beginning. In the end each has been shown exactly what they
were allowed to see at the moment when it happened, in its order, and nothing else. The acts are in ``tests/story``.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.callers import SDK_FOLDER, SERVER, callers
from tests.mailbox import Mailbox
from tests.story import files, people, presences, rows, work
from tests.story.cast import Story

if TYPE_CHECKING:
    from tests.e2e.conftest import ProxyTo, Server


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        yield mailbox


async def run(story: Story, folder: Path) -> None:
    """Play the acts, in their order."""
    await rows.make_a_table(story)
    await people.sign_up(story)
    await people.watch(story)
    await rows.write_rows(story)
    await rows.break_rules(story)
    await rows.write_in_bulk(story)
    await rows.stage_a_transaction(story)
    membership = await people.form_a_team(story)
    await people.change_a_role(story, membership)
    await people.remove_a_member(story, membership)
    await people.dissolve_a_team(story)
    await presences.appear_and_vanish(story)
    await files.upload_a_large_file(story, folder)
    await files.show_a_picture(story, folder)
    await files.open_a_bucket_to_nobody(story)
    await work.run_a_function(story, folder)
    await work.tell_the_news(story)
    await work.set_up_a_webhook(story)
    await people.log_out(story)
    await people.finish(story)


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
    "buckets.pictures.files.sky.create",
    "buckets.pictures.files.sky.update",  # its name
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
    "presences.presence-of-bob.upsert",
    "presences.presence-of-carol.upsert",
    "presences.presence-of-carol.delete",  # her process was killed
    # Only once it was there as a whole.
    "buckets.pictures.files.large.create",
    "buckets.pictures.files.sky.create",
    "buckets.pictures.files.sky.update",
    # Not the change that took his right to read it away, nor its end.
    "buckets.pictures.files.large.delete",
    "functions.greet.executions.at-once.create",
    "functions.greet.executions.later.create",
    "functions.greet.executions.later.update",
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
    server = serve_dev(
        REALTIME_DATABASE_URL=database_url,
        REALTIME_SMTP_URL=mailbox.url,
        # Of all that is not public, webhooks may lead to this machine alone.
        REALTIME_WEBHOOKS_ALLOW_PRIVATE="false",
        REALTIME_WEBHOOKS_ALLOWED_NETWORKS="127.0.0.0/8",
    )
    yield server
    server.stop()


async def test_everybody_sees_what_they_may_and_nothing_else(
    server: "Server", mailbox: Mailbox, proxy_to: "ProxyTo", tmp_path: Path
) -> None:
    keys = {"backend": server.key, "bob": None, "carol": None, "visitor": None}
    async with (
        proxy_to(server) as proxy,
        callers(server.endpoint, server.project, list(keys.values())) as started,
        callers(f"http://127.0.0.1:{proxy.port}/v1", server.project, [None]) as (ada,),
    ):
        cast = {**dict(zip(keys, started, strict=True)), "ada": ada}
        story = Story(server.endpoint, cast, proxy=proxy, mailbox=mailbox, project=server.project)
        await run(story, tmp_path)
        watchers = story.bob, story.visitor
        assert not any(event["payload"].get("secret") for each in watchers for event in each.events)
        assert story.seen_by(story.bob) == SEEN_BY_BOB
        assert story.seen_by(story.visitor) == SEEN_BY_ALL
