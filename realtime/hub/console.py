"""What the console project publishes by itself: the event that SDK test suites wait for (wire spec 3.6). Pure."""

from datetime import datetime

import msgspec

TEST_CHANNEL = "tests"
TEST_INTERVAL_S = 5


def periodic_event(now: datetime) -> bytes:
    """Return the ``data`` of the periodic test event; ``now`` is aware and in UTC."""
    return msgspec.json.encode(
        {
            "events": ["test.event"],
            "channels": [TEST_CHANNEL],
            "timestamp": now.isoformat(timespec="milliseconds"),
            "payload": {"response": "WS:/v1/realtime:passed"},
        }
    )
