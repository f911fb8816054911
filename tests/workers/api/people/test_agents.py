"""User agents, in the terms of the session model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.api.people.agents import describe_agent
from workers.models.sessions import Session

CHROME_ON_ANDROID = (
    "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Mobile Safari/537.36"
)
SAFARI_ON_IPAD = (
    "Mozilla/5.0 (iPad; CPU OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.1 "
    "Mobile/15E148 Safari/604.1"
)
EDGE_ON_WINDOWS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 "
    "Safari/537.36 Edg/131.0.0.0"
)


class TestDescribeAgent:
    @pytest.mark.parametrize(
        ("text", "os", "client", "engine", "device"),
        [
            (CHROME_ON_ANDROID, ("AND", "Android", "14"), ("CM", "Chrome Mobile"), "Blink", "smartphone"),
            (SAFARI_ON_IPAD, ("IOS", "iOS", "17.1"), ("MF", "Mobile Safari"), "WebKit", "tablet"),
            (EDGE_ON_WINDOWS, ("WIN", "Windows", "10"), ("PS", "Edge"), "Blink", "desktop"),
            ("curl/8.5.0", ("", "", ""), ("", "curl"), "", ""),
            ("", ("", "", ""), ("", ""), "", ""),
        ],
    )
    def test_browsers_and_systems_are_known(
        self, text: str, os: tuple[str, str, str], client: tuple[str, str], engine: str, device: str
    ) -> None:
        found = describe_agent(text)
        assert (found["osCode"], found["osName"], found["osVersion"]) == os
        assert (found["clientCode"], found["clientName"]) == client
        assert (found["clientEngine"], found["deviceName"]) == (engine, device)
        assert found["clientType"] == ("browser" if client[0] else "")

    @given(st.text())
    def test_any_text_gives_the_members_of_a_session(self, text: str) -> None:
        found = describe_agent(text)
        expected = {name for name in Session.__annotations__ if name.startswith(("os", "client", "device"))}
        assert set(found) == expected
        assert all(isinstance(value, str) for value in found.values())
