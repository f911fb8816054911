from datetime import UTC, datetime

import msgspec
import pytest

from realtime.events.event import Event, prepare
from realtime.events.names import expand
from realtime.events.work import WorkEvent, WorkItem, decode_work

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NAMES = expand("teams.[teamId].create", {"teamId": "red"})


def item(envelope: bytes, full_payload: bytes = b"") -> WorkItem:
    return WorkItem(7, b"5-1", "5-0", envelope, full_payload, 1)


class TestDecodeWork:
    def test_event_is_as_it_was_prepared(self) -> None:
        event = Event("teams.red.create", b'{"n": 1}', actor_id="ada", depth=2)
        (prepared,) = prepare(event, "demo", now=NOW)
        assert decode_work(item(prepared.envelope)) == WorkEvent(
            "demo", "5-0", NAMES, "ada", 2, "2026-01-02T00:00:00.000+00:00", b'{"n": 1}'
        )

    def test_full_payload_wins(self) -> None:
        (prepared,) = prepare(Event("teams.red.create", {"n": 1, "m": 2}, hidden=["m"]), "demo", now=NOW)
        assert decode_work(item(prepared.envelope)).payload == b'{"n":1}'
        assert decode_work(item(prepared.envelope, prepared.full_payload)).payload == b'{"n":1,"m":2}'

    def test_nobody_acts_unless_somebody_does(self) -> None:
        (prepared,) = prepare(Event("teams.red.create", {}), "demo", now=NOW)
        found = decode_work(item(prepared.envelope))
        assert (found.actor_id, found.depth) == ("", 0)

    @pytest.mark.parametrize("envelope", [b"", b"{", b"[]", b"{}", b'{"project":"p","data":{"events":1}}'])
    def test_what_is_no_event_is_refused(self, envelope: bytes) -> None:
        with pytest.raises(msgspec.DecodeError):
            decode_work(item(envelope))
