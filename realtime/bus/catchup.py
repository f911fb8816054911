"""From a subscription that was just confirmed to live delivery: what the log has that was missed comes first.

What always holds for a watched project: its events are delivered in the order of its log, each once, and a gap that
the log could not fill is reported. A log that cannot be read concerns its project alone: a gap for those who watch
it, an error for who wants to.
"""

import time
from collections.abc import Awaitable, Callable, Iterator

import structlog
from redis.exceptions import AskError, ClusterDownError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from realtime.bus.bus import LogPage, LogState, RedisBus
from realtime.bus.positions import Position, format_position, message_position, parse_position
from realtime.bus.watch import Watch

log = structlog.get_logger("realtime.bus")

_PAGE = 500
"""How many events are read from a log at a time."""
_PORTION_BYTES = 256 * 1024
"""How much of a log is passed on at a time, at most, if it is more than one event."""
_COUNT_ATTEMPTS = 20
"""How many pages may be read until a log that grows meanwhile stands still for long enough to be counted."""
_MAX_AHEAD_MS = 86_400_000
"""How far an event's ID may be ahead of the clock: believing one that is not true would silence the project."""


class CatchUp:
    """Delivers the messages of all watches of a listener, live ones and those of their logs.

    Args:
        on_message: Gets a project and a message.
        on_resuming: Gets a project whose channel is heard again, before what the log has of the time in between.
        on_resumed: Gets a project, whether everything was delivered that was published while nothing was heard, and
            how many events were missed (None if nobody knows).
        on_settled: Called after messages that came in together.
        on_ignored: Gets the project of a live message that was not believed.
        wait_taken: Awaited with the project after each portion of its log, until there may be more.
        is_bridged: Whether events come from elsewhere too, without a log: then no gap is ever filled completely.
    """

    def __init__(
        self,
        on_message: Callable[[str, bytes], None],
        on_resuming: Callable[[str], None],
        on_resumed: Callable[[str, bool, int | None], None],
        on_settled: Callable[[], None],
        on_ignored: Callable[[str], None],
        wait_taken: Callable[[str], Awaitable[None]],
        *,
        is_bridged: bool,
    ) -> None:
        self._on_message = on_message
        self._on_resuming = on_resuming
        self._on_resumed = on_resumed
        self._on_settled = on_settled
        self._on_ignored = on_ignored
        self._wait_taken = wait_taken
        self._is_bridged = is_bridged

    def receive(self, watch: Watch, message: bytes) -> None:
        """Take a live message: deliver it, or keep it until the log has been read.

        A message without a position is not in the log. It says that identities changed, so it waits for nothing: the
        log may have events of after that change.
        """
        if watch.held is None or message_position(message) is None:
            self._deliver_live(watch, message)
        else:
            watch.hold(message, watch.held)

    def settled(self) -> None:
        """Tell that messages that came in together have been passed on."""
        call(self._on_settled)

    async def settle(self, watch: Watch, bus: RedisBus) -> None:
        """Bring a project whose channel was just subscribed to the point from which it is live.

        Does nothing once the watch has ended or was subscribed anew. A watch that ends up with a ``failure`` cannot
        be watched at all.

        Args:
            watch: The project.
            bus: Reads from the very server that the channel is subscribed at: another one may be behind it.

        Raises:
            redis.RedisError: It is Redis that fails, not this log: another subscription starts over.
        """
        attempt, is_new = watch.attempt, not watch.has_position
        if not is_new:
            call(self._on_resuming, watch.project)
        try:
            await self._catch_up(watch, attempt, bus)
        except (RedisConnectionError, RedisTimeoutError, AskError, ClusterDownError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it concerns no other project
            if watch.attempt is attempt:
                _log_failed(watch, error)
        # No await from here on: what was held follows exactly, and live messages follow that.
        if watch.is_void(attempt) or watch.failure:
            return
        held, watch.held = watch.held or [], None
        if not is_new:
            self._report(watch)
        for message in held:
            self._deliver_live(watch, message)
        self.settled()
        watch.is_ready.set()

    def _report(self, watch: Watch) -> None:
        complete, missed = not (watch.has_gap or self._is_bridged), watch.missed
        watch.has_gap, watch.missed = False, 0
        call(self._on_resumed, watch.project, complete, missed)

    # The log.

    async def _catch_up(self, watch: Watch, attempt: object, bus: RedisBus) -> None:
        """Deliver what the log has after the last event seen; of a new project find out where that is.

        This and what it consists of stop once the attempt is void: what is left to do is another one's.
        """
        if watch.has_position:
            await self._replay(watch, attempt, bus)
        else:
            await self._begin(watch, attempt, bus)
        is_counted = False
        # While it is counted, too, more may come than is held.
        while not watch.is_void(attempt) and (watch.overflowed or (watch.has_gap and not is_counted)):
            is_counted = not watch.overflowed
            if is_counted:
                await self._count_missed(watch, attempt, bus)
            else:
                watch.overflowed = False
                await self._replay(watch, attempt, bus)

    async def _begin(self, watch: Watch, attempt: object, bus: RedisBus) -> None:
        """Find out where a new project's log ends."""
        state = await bus.log_state(watch.project)
        if not watch.is_void(attempt):
            watch.last, watch.counted = parse_position(state.last), state.published
            watch.has_position = True

    async def _replay(self, watch: Watch, attempt: object, bus: RedisBus) -> None:
        """Deliver what the log has after the last event seen."""
        while True:
            page = await bus.read_page(watch.project, format_position(watch.last), limit=_PAGE)
            end = None if page.is_complete else (await bus.log_state(watch.project)).last
            if watch.is_void(attempt):
                return
            if end is not None:
                watch.has_gap = True
                _step_back(watch, parse_position(end))
            if not await self._deliver_page(watch, attempt, page) or len(page.events) < _PAGE:
                return

    async def _count_missed(self, watch: Watch, attempt: object, bus: RedisBus) -> None:
        """Find out how many events are missing: as many as the log ever had more than were counted here.

        They are added to those that were found missing since it was last reported.
        """
        for _ in range(_COUNT_ATTEMPTS):
            page, state = await bus.read_end(watch.project, format_position(watch.last), limit=_PAGE)
            if watch.is_void(attempt) or not await self._deliver_page(watch, attempt, page):
                return
            if len(page.events) < _PAGE:
                missed = _missed(state, watch.counted)
                watch.missed = None if watch.missed is None or missed is None else watch.missed + missed
                watch.counted = state.published
                return
        watch.missed = watch.counted = None

    # Delivery.

    async def _deliver_page(self, watch: Watch, attempt: object, page: LogPage) -> bool:
        """Deliver a page in portions, no faster than they are taken; tell whether that is still of interest."""
        for portion in _portions(page):
            for event_id, message in portion:
                self._deliver(watch, parse_position(event_id), message)
            self.settled()
            await self._wait_taken(watch.project)
            if watch.is_void(attempt):
                return False
        return True

    def _deliver_live(self, watch: Watch, message: bytes) -> None:
        position = message_position(message)
        if position is None:
            call(self._on_message, watch.project, message)
        elif position[0] > max(time.time() * 1000, watch.last[0]) + _MAX_AHEAD_MS:
            call(self._on_ignored, watch.project)
            log.warning(
                "a live message was ignored: its ID is far in the future",
                project=watch.project,
                event_id=format_position(position),
            )
        else:
            self._deliver(watch, position, message)

    def _deliver(self, watch: Watch, position: Position, message: bytes) -> None:
        if position <= watch.last:
            return
        watch.last = position
        if watch.counted is not None:
            watch.counted += 1
        call(self._on_message, watch.project, message)


def _portions(page: LogPage) -> Iterator[list[tuple[str, bytes]]]:
    """Divide a page; no portion is empty."""
    portion: list[tuple[str, bytes]] = []
    size_bytes = 0
    for event_id, message in page.events:
        if portion and size_bytes + len(message) > _PORTION_BYTES:
            yield portion
            portion, size_bytes = [], 0
        portion.append((event_id, message))
        size_bytes += len(message)
    if portion:
        yield portion


def _missed(state: LogState, counted: int | None) -> int | None:
    """Return how many events a log has had beside those that were counted; None if nobody knows."""
    # A log that nothing was trimmed off, and yet lacks what was seen of it, is another log.
    is_another = state.published == state.kept
    if state.published is None or counted is None or is_another or state.published < counted:
        return None
    return state.published - counted


def _step_back(watch: Watch, end: Position) -> None:
    """Take the log's end for the last event seen if it is before that: a failover lost the log's end.

    Otherwise the next events, which take up from there, would be taken for old ones.
    """
    if end < watch.last:
        watch.last, watch.counted = end, None


def _log_failed(watch: Watch, error: Exception) -> None:
    """Go on without a log that cannot be read: with a gap, or not at all when nobody was promised events."""
    reason = str(error) or type(error).__name__
    log.error("the log of a project cannot be read", project=watch.project, error=reason)
    if watch.is_ready.is_set():
        watch.has_gap, watch.missed, watch.counted = True, None, None
    else:
        watch.failure = f"The log of project {watch.project} cannot be read: {reason}"


def call(callback: Callable[..., None], *arguments: object) -> None:
    """Call back; one message that its receiver fails on must not silence all others."""
    try:
        callback(*arguments)
    except Exception:
        log.exception("a live message was not processed")
