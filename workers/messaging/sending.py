"""Sending one message, from where it was left to its end, or to where it has to be left."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import make_msgid
from typing import Any

import structlog
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.messaging.claims import MAX_CLAIMS, Claim, finish, give_back, next_targets, note
from workers.messaging.letters import may_be_copied, write_letter
from workers.messaging.routes import Outgoing, Route, Routes
from workers.messaging.smtp import NotConnectedError, NotSentError
from workers.models.people import Row
from workers.store.sealing import UnsealError
from workers.store.store import Store
from workers.store.tables import targets
from workers.store.texts import storable
from workers.store.times import to_text

_LOG = structlog.get_logger("realtime.messaging")

BATCH = 25
"""How many letters may go out before it is noted that they did: as many are sent again if a sender dies."""

PAGE = 500
"""How many targets are looked up at a time: of a topic with many subscribers, that takes the database a while."""

NOTE_AFTER = timedelta(seconds=60)
"""After how long it is noted even if they are fewer; well within a lease."""

RETRY_AFTER_S = (5, 30, 120)
"""How long to wait when no mail server can be reached, once after the other; then the message has failed."""

MAX_ERRORS = 100
"""How many errors a message keeps; further ones are counted."""

_NO_SENDER = {
    "sms": "There is no sender of text messages here.",
    "push": "There is no sender of push notifications here.",
}


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


class Delivery:
    """A message on its way. Used by one task, once.

    Args:
        store: where it is.
        routes: the ways by which e-mails go out.
        claimed: the message.
        stopping: tells to leave the message to others, after the letter that is going out.
        clock: the time, aware.
    """

    def __init__(
        self,
        store: Store,
        routes: Routes,
        claimed: Claim,
        stopping: asyncio.Event,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._store = store
        self._routes = routes
        self._claimed = claimed
        self._stopping = stopping
        self._clock = clock
        row = claimed.row
        self._delivered = row["delivered_total"]
        self._failed = row["failed_total"]
        self._errors: list[str] = list(row["delivery_errors"])
        self._attempts = row["attempts"]
        self._sent_to = row["sent_to"]
        # Since it was last noted.
        self._unnoted = 0
        self._noted_at = clock()

    async def run(self) -> None:
        """Send the message.

        Raises:
            sqlalchemy.exc.SQLAlchemyError, OSError: the database cannot be reached, and the lease lapses; or it does
                not take what there is to note.
        """
        kind = self._claimed.row["provider_type"]
        if kind in _NO_SENDER:
            await self.fail(_NO_SENDER[kind])
            return
        if self._claimed.row["claims"] > MAX_CLAIMS:
            await self.fail(f"It was begun {MAX_CLAIMS} times, and nobody noted how far it went.")
            return
        async with self._store.read() as connection:
            try:
                route = await self._routes.find(connection, self._claimed.project.id)
            except (ValueError, UnsealError) as error:
                unusable = f"The provider cannot be used: {error}"
            else:
                unusable = ""
            cc = await self._copied(connection, self._claimed.row["data"].get("cc", ()))
        if unusable:
            await self.fail(unusable)
            return
        try:
            async with route.open() as outgoing:
                is_over = await self._send_all(route, outgoing, cc)
        except asyncio.CancelledError:
            # The process stops, and could not wait for the letter that was going out.
            await self._leave(self._clock())
            raise
        except NotConnectedError as error:
            await self._put_off(error)
        else:
            if is_over:
                await self._finish()

    async def fail(self, reason: str) -> None:
        """Give up those who did not get the message yet. Raises as :meth:`run` does."""
        self._note_error(reason)
        await self._finish()

    async def break_off(self) -> None:
        """Give up after a mistake of ours. Errors are not kept: one may be what could not be noted. Raises as run."""
        self._errors.clear()
        await self.fail("The server made a mistake.")

    async def _copied(self, connection: AsyncConnection, target_ids: Sequence[str]) -> list[str]:
        if not target_ids:
            return []
        found = await connection.execute(
            select(targets.c.identifier)
            .where(targets.c.project_id == self._claimed.project.id, targets.c.id.in_(target_ids))
            .order_by(targets.c.seq)
        )
        # Whoever is left out gets a letter as others do; if it is not taken, that is noted for them.
        return [address for address in found.scalars() if may_be_copied(address)]

    async def _send_all(self, route: Route, outgoing: Outgoing, cc: Sequence[str]) -> bool:
        """Send to everybody who is left; False when the message has to be left, or was taken by somebody else."""
        while True:
            async with self._store.read() as connection:
                page = await next_targets(connection, self._claimed.row, after=self._sent_to, limit=PAGE)
            for target in page:
                if self._stopping.is_set():
                    await self._leave(self._clock())
                    return False
                await self._send(route, outgoing, target, cc)
                if not await self._note_if_due():
                    return False
            if len(page) < PAGE:
                return True

    async def _send(self, route: Route, outgoing: Outgoing, target: Row, cc: Sequence[str]) -> None:
        try:
            letter = write_letter(
                self._claimed.row["data"],
                sender=route.sender,
                to=None if target["identifier"] in cc else target["identifier"],
                cc=cc,
                message_id=make_msgid(domain=route.sender.domain),
                sent_at=self._clock(),
            )
            await outgoing.send(letter, target["identifier"])
        except NotConnectedError:
            raise
        except (NotSentError, ValueError) as error:
            self._note_error(f"Failed sending to target {target['identifier']} with error: {error}")
        else:
            self._delivered += 1
        self._attempts = 0
        self._sent_to = target["seq"]
        self._unnoted += 1

    def _note_error(self, text: str) -> None:
        self._failed += 1
        if len(self._errors) < MAX_ERRORS:
            # Mail servers answer in whatever bytes they like.
            self._errors.append(storable(text[:1000]))

    async def _note_if_due(self) -> bool:
        """Note how far it is, now and then; False when somebody else took the message."""
        now = self._clock()
        if self._unnoted < BATCH and now - self._noted_at < NOTE_AFTER:
            return True
        async with self._store.write(self._claimed.project) as tx:
            is_ours = await note(tx, self._claimed, now, self._progress())
        self._unnoted, self._noted_at = 0, now
        return is_ours

    async def _leave(self, until: datetime) -> None:
        async with self._store.write(self._claimed.project) as tx:
            await give_back(tx, self._claimed, until, self._progress())

    async def _put_off(self, error: NotConnectedError) -> None:
        """Try again later, unless that was done often enough or cannot help."""
        if not error.is_temporary or self._attempts >= len(RETRY_AFTER_S):
            await self.fail(f"No mail server takes messages: {error}")
            return
        reason = storable(str(error))
        wait = timedelta(seconds=RETRY_AFTER_S[self._attempts])
        self._attempts += 1
        _LOG.warning("a message waits for a mail server", project=self._claimed.project.id, error=reason)
        await self._leave(self._clock() + wait)

    async def _finish(self) -> None:
        if not self._delivered and not self._errors:
            self._note_error("There is nobody who could get it.")
        if self._failed > len(self._errors):
            self._errors.append(f"There were {self._failed} errors in all.")
        outcome = self._progress() | {"status": "sent" if self._delivered else "failed"}
        if self._delivered:
            outcome["delivered_at"] = to_text(self._clock())
        async with self._store.write(self._claimed.project) as tx:
            await finish(tx, self._claimed, outcome)
        row = self._claimed.row
        _LOG.info(
            "message",
            project=self._claimed.project.id,
            message=row["id"],
            status=outcome["status"],
            delivered=self._delivered,
            failed=self._failed,
        )

    def _progress(self) -> dict[str, Any]:
        """Return the columns that say how far it is."""
        return {
            "delivered_total": self._delivered,
            "failed_total": self._failed,
            "delivery_errors": self._errors,
            "attempts": self._attempts,
            "sent_to": self._sent_to,
        }
