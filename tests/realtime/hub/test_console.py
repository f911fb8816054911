"""The console's test event, as SDK test suites expect it (wire specification 3.6)."""

import json
from datetime import UTC, datetime

from realtime.hub.console import periodic_event


class TestTestEvent:
    def test_data_is_that_of_the_specification(self) -> None:
        moment = datetime(2026, 1, 2, 3, 4, 5, 678_900, tzinfo=UTC)
        assert json.loads(periodic_event(moment)) == {
            "events": ["test.event"],
            "channels": ["tests"],
            "timestamp": "2026-01-02T03:04:05.678+00:00",
            "payload": {"response": "WS:/v1/realtime:passed"},
        }
