"""What becomes of messages: they reach whom they are for, once, and what went wrong is said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from realtime.identity.model import Project
from tests.api import PROJECT, Api
from tests.mailbox import Mailbox
from workers.messaging import dispatcher as dispatcher_module
from workers.messaging import sending
from workers.messaging.claims import LEASE, MAX_CLAIMS, Claim, Due, claim, give_back, next_due, note
from workers.messaging.dispatcher import MAX_SENDING_OF_PROJECT, Dispatcher
from workers.messaging.letters import Sender
from workers.messaging.routes import Outgoing, Routes
from workers.messaging.smtp import NotConnectedError, NotSentError
from workers.outbound.guard import Guard
from workers.store import tables
from workers.store.times import to_text

Person = Callable[[str], Awaitable[str]]

MESSAGES = "/v1/messaging/messages"
DEADLINE_S = 20.0


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with Mailbox() as mailbox:
        yield mailbox


@pytest.fixture
def overrides(mailbox: Mailbox) -> dict[str, Any]:
    return {
        "smtp_url": mailbox.url,
        "mail_from": "Realtime <no-reply@example.com>",
        "webhooks_allowed_networks": ("127.0.0.0/8",),
    }


async def write(api: Api, kind: str = "email", **values: Any) -> None:
    content: dict[str, Any] = {"content": "There is news."}
    if kind == "email":
        content["subject"] = "News"
    body = {"messageId": "m", **content, **values}
    made = await api.server.post(f"{MESSAGES}/{kind}", json=body)
    assert made.status_code == 201, made.text


async def outcome(api: Api, message_id: str = "m") -> dict[str, Any]:
    """Wait until a message has been dealt with, and return it."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            message = (await api.server.get(f"{MESSAGES}/{message_id}")).json()
            if message["status"] in ("sent", "failed"):
                return dict(message)
            await asyncio.sleep(0.01)


class TestEmail:
    async def test_everybody_gets_a_letter_that_names_nobody_else(
        self, api: Api, person: Person, mailbox: Mailbox
    ) -> None:
        targets = {name: await person(name) for name in ("ann", "bob", "eve")}
        await api.server.post("/v1/messaging/topics", json={"topicId": "news", "name": "News"})
        for name in ("ann", "bob"):
            body = {"subscriberId": name, "targetId": targets[name]}
            await api.server.post("/v1/messaging/topics/news/subscribers", json=body)
        # ann is meant in every way, and gets it once.
        await write(api, topics=["news"], users=["ann"], targets=[targets["ann"], targets["eve"]])
        message = await outcome(api)
        assert (message["status"], message["deliveredTotal"], message["deliveryErrors"]) == ("sent", 3, [])
        assert message["deliveredAt"] >= message["$createdAt"]
        letters = await mailbox.letters(3)
        assert [(to, letter["To"]) for to, letter in letters] == [
            (f"{name}@example.com", f"{name}@example.com") for name in targets
        ]
        letter = letters[0][1]
        assert (letter["From"], letter["Subject"]) == ("Realtime <no-reply@example.com>", "News")
        assert (letter.get_content_type(), text_of(letter)) == ("text/plain", "There is news.")
        assert len({each["Message-ID"] for _, each in letters}) == 3
        assert [event.payload["status"] for event in await events(api)] == ["processing", "sent"]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_copies_are_seen_and_blind_ones_are_not(
        self, api: Api, person: Person, mailbox: Mailbox
    ) -> None:
        ann, bob, eve = [await person(name) for name in ("ann", "bob", "eve")]
        await write(api, targets=[ann], cc=[bob], bcc=[eve], html=True, content="<b>News</b>")
        assert (await outcome(api))["deliveredTotal"] == 3
        letters = {to.partition("@")[0]: letter for to, letter in await mailbox.letters(3)}
        assert {name: letter["To"] for name, letter in letters.items()} == {
            "ann": "ann@example.com",
            "bob": "undisclosed-recipients:;",
            "eve": "eve@example.com",
        }
        for name, letter in letters.items():
            assert (letter["Cc"], letter["Bcc"]) == ("bob@example.com", None)
            assert name == "eve" or "eve@example.com" not in letter.as_string()
            assert (letter.get_content_type(), text_of(letter)) == ("text/html", "<b>News</b>")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_copy_that_cannot_be_addressed_stops_nobody_else(
        self, api: Api, person: Person, mailbox: Mailbox
    ) -> None:
        ann, bob, eve = [await person(name) for name in ("ann", "bob", "eve")]
        changed = await api.server.patch("/v1/users/bob/email", json={"email": "bøb@example.com"})
        assert changed.status_code == 200
        await write(api, targets=[ann], cc=[bob, eve])
        message = await outcome(api)
        assert (message["status"], message["deliveredTotal"]) == ("sent", 2)
        (error,) = message["deliveryErrors"]
        assert "bøb@example.com" in error
        assert [letter["Cc"] for _, letter in await mailbox.letters(2)] == ["eve@example.com"] * 2

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_who_cannot_be_reached_is_named_and_others_are_reached(
        self, api: Api, person: Person, mailbox: Mailbox
    ) -> None:
        for name in ("ann", "bob", "eve"):
            await person(name)
        mailbox.unknown = {"bob@example.com"}
        await write(api, users=["ann", "bob", "eve"])
        message = await outcome(api)
        assert (message["status"], message["deliveredTotal"]) == ("sent", 2)
        (error,) = message["deliveryErrors"]
        assert "bob@example.com" in error
        assert "550 No such user here" in error

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_message_that_reaches_nobody_has_failed(
        self, api: Api, person: Person, mailbox: Mailbox
    ) -> None:
        await person("ann")
        mailbox.unknown = {"ann@example.com"}
        await write(api, users=["ann"])
        message = await outcome(api)
        assert (message["status"], message["deliveredTotal"], message["deliveredAt"]) == ("failed", 0, None)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_topic_without_subscribers_is_nobody(self, api: Api) -> None:
        await api.server.post("/v1/messaging/topics", json={"topicId": "news", "name": "News"})
        await write(api, topics=["news"])
        message = await outcome(api)
        assert (message["status"], message["deliveryErrors"]) == (
            "failed",
            ["There is nobody who could get it."],
        )

    async def test_scheduled_message_goes_out_when_its_time_has_come(
        self, api: Api, person: Person, mailbox: Mailbox
    ) -> None:
        await person("ann")
        at = datetime.now(UTC) + timedelta(seconds=0.5)
        await write(api, users=["ann"], scheduledAt=to_text(at))
        message = await outcome(api)
        assert message["status"] == "sent"
        assert message["deliveredAt"] >= to_text(at)
        statuses = [event.payload["status"] for event in await events(api)]
        assert statuses == ["scheduled", "processing", "sent"]
        assert len(await mailbox.letters(1)) == 1

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_what_was_sent_is_not_changed_any_more(self, api: Api, person: Person) -> None:
        await person("ann")
        await write(api, users=["ann"])
        await outcome(api)
        refused = await api.server.patch(f"{MESSAGES}/email/m", json={"subject": "Other"})
        assert (refused.status_code, refused.json()["type"]) == (400, "message_already_sent")
        assert (await api.server.delete(f"{MESSAGES}/m")).status_code == 204

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_provider_of_the_project_is_used(self, api: Api, person: Person, mailbox: Mailbox) -> None:
        await person("ann")
        with Mailbox() as other:
            body = {
                "providerId": "mail",
                "name": "Ours",
                "host": other.url.removeprefix("smtp://"),
                "encryption": "none",
                "mailer": "Post",
                "fromName": "Ann",
                "fromEmail": "ann@ours.example",
                "replyToEmail": "bob@ours.example",
                "enabled": True,
            }
            made = await api.server.post("/v1/messaging/providers/smtp", json=body)
            assert made.json()["enabled"], made.text
            await write(api, users=["ann"])
            message = await outcome(api)
            assert message["status"] == "sent", message
            ((to, letter),) = await other.letters(1)
        assert (to, letter["From"]) == ("ann@example.com", "Ann <ann@ours.example>")
        assert (letter["Reply-To"], letter["X-Mailer"]) == ("bob@ours.example", "Post")


class TestPrivateProvider:
    @pytest.fixture
    def overrides(self) -> dict[str, Any]:
        return {}

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_mail_server_of_this_network_is_not_connected_to(self, api: Api, person: Person) -> None:
        await person("ann")
        body = {"providerId": "mail", "name": "Ours", "host": "127.0.0.1:25", "fromEmail": "a@example.com"}
        await api.server.post("/v1/messaging/providers/smtp", json=body | {"enabled": True})
        await write(api, users=["ann"])
        message = await outcome(api)
        assert message["status"] == "failed"
        (error,) = message["deliveryErrors"]
        assert "the host is not a public one" in error

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_letters_are_logged_where_there_is_no_mail_server(self, api: Api, person: Person) -> None:
        await person("ann")
        with structlog.testing.capture_logs() as logged:
            await write(api, users=["ann"])
            assert (await outcome(api))["status"] == "sent"
        (line,) = [each for each in logged if each["event"] == "mail"]
        assert (line["to"], line["subject"], line["text"]) == ("ann@example.com", "News", "There is news.\n")


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestOtherKinds:
    @pytest.mark.parametrize(("kind", "word"), [("sms", "text messages"), ("push", "push notifications")])
    async def test_they_fail_and_say_why(self, api: Api, person: Person, kind: str, word: str) -> None:
        await person("ann")
        content = {"content": "Hello"} if kind == "sms" else {"title": "Hello", "content": None}
        await write(api, kind, users=["ann"], **content)
        message = await outcome(api)
        assert message["status"] == "failed"
        assert message["deliveryErrors"] == [f"There is no sender of {word} here."]


def text_of(letter: EmailMessage) -> str:
    text: str = letter.get_content()
    return text.strip()


async def events(api: Api) -> list[Any]:
    return [event for event in await api.published() if event.name.startswith("messages.m.")]


class Fake:
    """A way for e-mails that notes who got one, and does what it is told."""

    def __init__(self) -> None:
        self.sender = Sender("no-reply@example.com")
        self.sent: list[str] = []
        # Called before each letter.
        self.before: Callable[[str], Awaitable[None]] = self._nothing

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Outgoing]:
        yield self

    async def send(self, _letter: EmailMessage, recipient: str) -> None:
        await self.before(recipient)
        self.sent.append(recipient.partition("@")[0])

    async def _nothing(self, _recipient: str) -> None:
        pass


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC) + timedelta(hours=1)

    def __call__(self) -> datetime:
        return self.now


@pytest.mark.usefixtures("five")
class TestDispatcher:
    """Dispatchers of other processes on the same database, whose time is their own."""

    @pytest.fixture
    def fake(self) -> Fake:
        return Fake()

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def five(self, api: Api, person: Person) -> None:
        """A message to five people that is due in a way that the API's own dispatcher does not see."""
        names = [f"p{number}" for number in range(5)]
        for name in names:
            await person(name)
        await write(api, users=names, draft=True)

    async def make_due(self, api: Api, clock: Clock) -> None:
        await self.change(api, status="scheduled", due_at=to_text(clock.now))

    async def change(self, api: Api, **values: Any) -> None:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(tables.messages).values(values))

    async def row(self, api: Api) -> Any:
        async with api.services.store.read() as connection:
            return (await connection.execute(select(tables.messages))).mappings().one()

    def dispatcher(self, api: Api, fake: Fake, clock: Clock) -> Dispatcher:
        routes = Routes(fake, api.services.sealer, Guard())
        return Dispatcher(api.services.store, routes, clock=clock)

    async def test_two_do_not_send_the_same(self, api: Api, fake: Fake, clock: Clock) -> None:
        first, second = (self.dispatcher(api, fake, clock) for _ in range(2))
        async with first.running(), second.running():
            await self.make_due(api, clock)
            first.wake()
            second.wake()
            assert (await outcome(api))["deliveredTotal"] == 5
        assert sorted(fake.sent) == [f"p{number}" for number in range(5)]

    async def test_dispatcher_that_stops_leaves_the_rest_to_another(
        self, api: Api, fake: Fake, clock: Clock
    ) -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def hold(recipient: str) -> None:
            if recipient.startswith("p2"):
                reached.set()
                await go_on.wait()

        fake.before = hold
        first = self.dispatcher(api, fake, clock)
        await self.make_due(api, clock)
        async with first.running():
            await reached.wait()
            # The block ends, and only then the letter that is going out.
            asyncio.get_running_loop().call_soon(go_on.set)
        row = await self.row(api)
        assert (row["status"], row["delivered_total"], row["lease"]) == ("processing", 3, "")
        second = self.dispatcher(api, fake, clock)
        async with second.running():
            assert (await outcome(api))["deliveredTotal"] == 5
        assert fake.sent == [f"p{number}" for number in range(5)]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_letter_that_takes_too_long_does_not_hold_up_a_stop(
        self, api: Api, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(dispatcher_module, "STOP_TIMEOUT_S", 0.01)
        reached = asyncio.Event()

        async def hang(recipient: str) -> None:
            if recipient.startswith("p2"):
                reached.set()
                await asyncio.Event().wait()

        fake.before = hang
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            await reached.wait()
        row = await self.row(api)
        assert (row["status"], row["delivered_total"], row["lease"]) == ("processing", 2, "")

    async def test_lease_of_one_who_died_lapses(self, api: Api, fake: Fake, clock: Clock) -> None:
        await self.make_due(api, clock)
        claimed = await self.claim(api, clock)
        assert claimed is not None
        assert await self.claim(api, clock) is None
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            assert await note(
                tx, claimed, clock.now, {"delivered_total": 2, "sent_to": await self.second(api)}
            )
        clock.now += LEASE
        async with self.dispatcher(api, fake, clock).running():
            assert (await outcome(api))["deliveredTotal"] == 5
        assert fake.sent == ["p2", "p3", "p4"]
        # Whoever comes back from the dead changes nothing.
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            assert not await note(tx, claimed, clock.now, {"delivered_total": 0})
            await give_back(tx, claimed, clock.now, {"delivered_total": 0})
        assert (await self.row(api))["delivered_total"] == 5

    async def claim(self, api: Api, clock: Clock) -> Claim | None:
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            (due, *_) = await next_due(tx.connection, 1)
            return await claim(tx, due.seq, clock.now)

    async def second(self, api: Api) -> int:
        async with api.services.store.read() as connection:
            found = await connection.execute(select(tables.targets.c.seq).order_by(tables.targets.c.seq))
            return int(found.scalars().all()[1])

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_mail_server_that_is_away_is_tried_again_where_it_was_left(
        self, api: Api, fake: Fake, clock: Clock
    ) -> None:
        refusals = iter([True, False])

        async def refuse_once(recipient: str) -> None:
            if recipient.startswith("p3") and next(refusals):
                raise NotConnectedError("away", is_temporary=True)

        fake.before = refuse_once
        await self.make_due(api, clock)
        dispatcher = self.dispatcher(api, fake, clock)
        async with dispatcher.running():
            async with asyncio.timeout(DEADLINE_S):
                while (await self.row(api))["attempts"] != 1:  # noqa: ASYNC110 - a database tells nobody
                    await asyncio.sleep(0.01)
            row = await self.row(api)
            assert (row["status"], row["delivered_total"]) == ("processing", 3)
            wait_s = sending.RETRY_AFTER_S[0]
            assert row["due_at"] == to_text(clock.now + timedelta(seconds=wait_s))
            clock.now += timedelta(seconds=wait_s)
            dispatcher.wake()
            message = await outcome(api)
        assert (message["deliveredTotal"], message["deliveryErrors"]) == (5, [])
        assert fake.sent == [f"p{number}" for number in range(5)]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_mail_server_that_stays_away_ends_it(self, api: Api, fake: Fake, clock: Clock) -> None:
        async def refuse(_recipient: str) -> None:
            raise NotConnectedError("away", is_temporary=True)

        fake.before = refuse
        await self.make_due(api, clock)
        await self.change(api, attempts=len(sending.RETRY_AFTER_S))
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert (message["status"], message["deliveryErrors"]) == (
            "failed",
            ["No mail server takes messages: away"],
        )

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_progress_is_noted_now_and_then_and_errors_are_bounded(
        self, api: Api, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "BATCH", 2)
        monkeypatch.setattr(sending, "MAX_ERRORS", 2)
        noted: list[int] = []

        async def look(_recipient: str) -> None:
            noted.append((await self.row(api))["failed_total"])
            raise NotSentError("no")

        fake.before = look
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert noted == [0, 0, 2, 2, 4]
        assert message["deliveryErrors"][2:] == ["There were 5 errors in all."]

    async def test_answer_that_cannot_be_kept_is_noted_without_what_is_wrong(
        self, api: Api, fake: Fake, clock: Clock
    ) -> None:
        async def refuse(recipient: str) -> None:
            if recipient.startswith("p3"):
                # As aiosmtplib reads what is not UTF-8.
                raise NotSentError("550 " + b"ung\xfcltig\0".decode("ascii", "surrogateescape"))

        fake.before = refuse
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert (message["status"], message["deliveredTotal"]) == ("sent", 4)
        (error,) = message["deliveryErrors"]
        assert error.endswith("550 ung?ltig")

    async def test_what_the_database_refuses_is_not_tried_again(
        self, api: Api, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def refuse(_recipient: str) -> None:
            raise NotSentError("\udcfc")

        monkeypatch.setattr(sending, "storable", str)
        fake.before = refuse
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert message["status"] == "failed"
        assert message["deliveryErrors"][0] == "The server made a mistake."

    async def test_message_whose_senders_all_die_fails(self, api: Api, fake: Fake, clock: Clock) -> None:
        await self.make_due(api, clock)
        for _ in range(MAX_CLAIMS):
            assert await self.claim(api, clock) is not None
            clock.now += LEASE
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert (message["status"], fake.sent) == ("failed", [])
        assert str(MAX_CLAIMS) in message["deliveryErrors"][0]

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_only_claims_without_progress_are_counted(self, api: Api, fake: Fake, clock: Clock) -> None:
        await self.make_due(api, clock)
        for _ in range(MAX_CLAIMS + 1):
            claimed = await self.claim(api, clock)
            assert claimed is not None
            async with api.services.store.write(Project(id=PROJECT)) as tx:
                assert await note(tx, claimed, clock.now, {})
            clock.now += LEASE
        async with self.dispatcher(api, fake, clock).running():
            assert (await outcome(api))["deliveredTotal"] == 5

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_message_is_deleted_when_its_sending_was_begun_again(
        self, api: Api, fake: Fake, clock: Clock
    ) -> None:
        reached, go_on = asyncio.Event(), asyncio.Event()

        async def hold(_recipient: str) -> None:
            reached.set()
            await go_on.wait()

        fake.before = hold
        await self.make_due(api, clock)
        await self.claim(api, clock)
        refused = await api.server.delete(f"{MESSAGES}/m")
        assert (refused.status_code, refused.json()["type"]) == (400, "message_already_processing")
        clock.now += LEASE
        async with self.dispatcher(api, fake, clock).running():
            await reached.wait()
            assert (await api.server.delete(f"{MESSAGES}/m")).status_code == 204
            go_on.set()
        assert (await api.server.get(f"{MESSAGES}/m")).status_code == 404

    async def test_many_are_looked_up_page_by_page(
        self, api: Api, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sending, "PAGE", 2)
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            assert (await outcome(api))["deliveredTotal"] == 5
        assert fake.sent == [f"p{number}" for number in range(5)]

    async def test_project_that_has_much_to_send_leaves_room_for_others(
        self, api: Api, fake: Fake, clock: Clock
    ) -> None:
        for number in range(3):
            await write(api, messageId=f"more{number}", users=["p0"], draft=True)
        async with api.services.store.write(Project(id="other")) as tx:
            times = {"created_at": tx.now_text, "updated_at": tx.now_text}
            project = {"id": "other", "name": "Other", "disabled": {}, "policies": {}, **times}
            await tx.connection.execute(tables.projects.insert().values(project))
            target = {"id": "t", "user_id": "u", "provider_type": "email", "identifier": "eve@example.com"}
            await tx.connection.execute(tables.targets.insert().values(project_id="other", **target, **times))
            message = {"id": "m", "provider_type": "email", "status": "draft", "delivery_errors": []}
            content = {"topics": [], "users": ["u"], "targets": [], "data": {"subject": "S", "content": "C"}}
            await tx.connection.execute(
                tables.messages.insert().values(project_id="other", **message, **content, **times)
            )
        begun: list[str] = []
        other, go_on = asyncio.Event(), asyncio.Event()

        async def hold(recipient: str) -> None:
            begun.append(recipient)
            if recipient == "eve@example.com":
                other.set()
            else:
                await go_on.wait()

        fake.before = hold
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            async with asyncio.timeout(DEADLINE_S):
                await other.wait()
            assert begun.count("p0@example.com") <= MAX_SENDING_OF_PROJECT
            go_on.set()
            for message_id in ("m", "more0", "more1", "more2"):
                assert (await outcome(api, message_id))["status"] == "sent"

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_mistake_of_ours_ends_the_message(self, api: Api, fake: Fake, clock: Clock) -> None:
        async def fail(_recipient: str) -> None:
            raise ZeroDivisionError

        fake.before = fail
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert (message["status"], message["deliveryErrors"]) == ("failed", ["The server made a mistake."])

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_dispatcher_goes_on_after_a_failure(
        self, api: Api, fake: Fake, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failures = iter([OSError(), ZeroDivisionError()])

        async def fail(connection: AsyncConnection, limit: int, *, without: Collection[str]) -> Sequence[Due]:
            for failure in failures:
                raise failure
            return await next_due(connection, limit, without=without)

        monkeypatch.setattr(dispatcher_module, "LOOK_INTERVAL_S", 0.01)
        monkeypatch.setattr(dispatcher_module, "next_due", fail)
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            assert (await outcome(api))["status"] == "sent"

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    async def test_secrets_that_cannot_be_read_any_more_are_said_so(
        self, api: Api, fake: Fake, clock: Clock
    ) -> None:
        body = {"providerId": "mail", "name": "Ours", "host": "mail.example.com", "password": "p"}
        await api.server.post(
            "/v1/messaging/providers/smtp", json=body | {"fromEmail": "a@example.com", "enabled": True}
        )
        async with api.services.store.write(Project(id=PROJECT)) as tx:
            await tx.connection.execute(update(tables.providers).values(secrets="damaged"))
        await self.make_due(api, clock)
        async with self.dispatcher(api, fake, clock).running():
            message = await outcome(api)
        assert message["status"] == "failed"
        assert "The provider cannot be used" in message["deliveryErrors"][0]
        assert fake.sent == []
