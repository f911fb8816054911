"""What clients are known to have received, told from the answers to pings. Pure.

TCP does not tell a server what its client has read. A pong does: it confirms everything that was sent before its
ping. So what was sent is confirmed in rounds: whoever was sent something since the last round, and owes no answer,
is pinged. Who is sent nothing costs nothing here.
"""

from collections.abc import Callable, Container, Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

from realtime.bus.positions import format_position, parse_position

T = TypeVar("T", bound=Hashable)


class Confirmations(Generic[T]):
    """How far each receiver of a stream has confirmed it.

    A receiver is *settled* when everything that it was sent is confirmed: then it has all that is for it, up to the
    present position. Positions are those of :mod:`realtime.bus.positions`; they never go back.

    Args:
        position: Where the stream is.
        on_sent: Called when the first receiver since the last round was sent something.
    """

    __slots__ = ("_asked", "_known", "_mark", "_number", "_on_sent", "_unasked")

    def __init__(self, position: str, on_sent: Callable[[], None] = lambda: None) -> None:
        self._on_sent = on_sent
        # The position at the last round: who was settled then has everything up to it.
        self._mark = position
        # Who was sent something since it was last asked.
        self._unasked: dict[T, object] = {}
        # How many times somebody was asked: what is asked last has the highest number.
        self._number = 0
        # Asked and has not answered -> what its answer confirms.
        self._asked: dict[T, _Question] = {}
        # Not settled -> up to where everything is confirmed. Those that were settled at the last round are missing.
        self._known: dict[T, str] = {}

    @property
    def all_settled(self) -> bool:
        """Whether everybody has confirmed everything."""
        return not self._unasked and not self._known

    def only_waits_for(self, receivers: Container[T]) -> bool:
        """Tell whether nothing is left to be done but to wait for the answers of ``receivers``."""
        return not self._unasked and all(each in receivers for each in self._known)

    def sent(self, receivers: Mapping[T, object]) -> None:
        """Note who was sent something. Called for each event, so there is no loop in Python here."""
        if not self._unasked:
            self._on_sent()
        self._unasked.update(receivers)

    @property
    def number(self) -> int:
        """The number of the latest question; those that are asked later have higher ones."""
        return self._number

    def ask_all(self, position: str, now: float, matters: Callable[[T], bool]) -> tuple[bytes, list[T]]:
        """Begin a round: return the payload of a ping, and who is to be sent it now.

        Args:
            position: The present one: everything up to it has been sent.
            now: The time, in seconds.
            matters: Whether anybody will ever want to know what a receiver has; the others are not asked.
        """
        waiting: dict[T, object] = {each: None for each in self._unasked if each in self._asked}
        asked = [each for each in self._unasked if each not in waiting and matters(each)]
        question = self._question(position, now)
        for each in asked:
            self._known.setdefault(each, self._mark)
            self._asked[each] = question
        self._unasked = waiting
        self._mark = position
        return question.payload, asked

    def ask(self, receiver: T, position: str, now: float) -> bytes | None:
        """Return the payload of a ping outside of a round for ``receiver``; None if it is settled.

        If it has been asked before, only the new ping counts: a client may answer the latest one only (RFC 6455
        section 5.5.3). The arguments are those of :meth:`ask_all`.
        """
        if self.is_settled(receiver):
            return None
        earlier = self._asked.get(receiver)
        question = self._question(position, earlier.asked_at if earlier else now)
        self._known.setdefault(receiver, self._mark)
        self._unasked.pop(receiver, None)
        self._asked[receiver] = question
        return question.payload

    def _question(self, position: str, asked_at: float) -> "_Question":
        self._number += 1
        # The number too: two pings at one position may have a replay between them.
        return _Question(self._number, position, f"{position}/{self._number}".encode(), asked_at)

    def answered(self, receiver: T, payload: bytes) -> int:
        """Take the payload of a pong; return the number of the question that it answers, 0 for none.

        It confirms everything that was sent before that question. Only the answer that is awaited counts.
        """
        question = self._asked.get(receiver)
        if question is None or question.payload != payload:
            return 0
        del self._asked[receiver]
        if receiver in self._unasked:
            self._known[receiver] = question.position
        else:
            del self._known[receiver]
        return question.number

    def is_settled(self, receiver: T) -> bool:
        """Tell whether everything that ``receiver`` was sent is confirmed."""
        return receiver not in self._known and receiver not in self._unasked

    def confirmed(self, receiver: T, position: str) -> str:
        """Return up to where ``receiver`` has everything; ``position`` is the present one."""
        known = self._known.get(receiver)
        if known is not None:
            return known
        return self._mark if receiver in self._unasked else position

    def overdue(self, before: float) -> list[T]:
        """Return who was asked before that time, in seconds, and has not answered."""
        return [each for each, question in self._asked.items() if question.asked_at < before]

    def forget(self, receiver: T) -> None:
        """Forget a receiver that is gone."""
        self._unasked.pop(receiver, None)
        self._asked.pop(receiver, None)
        self._known.pop(receiver, None)

    def floor(self, position: str, without: Container[T]) -> str:
        """Return up to where everybody has everything, but for those in ``without``; right after a round.

        ``position`` is the present one.
        """
        known = [parse_position(at) for each, at in self._known.items() if each not in without]
        return format_position(min(known)) if known else position


class _Question(NamedTuple):
    """A ping that asks for what came before it."""

    number: int
    position: str
    payload: bytes
    asked_at: float
