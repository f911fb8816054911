"""The headers of calls, and those that are kept."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import __version__
from workers.functions.headers import (
    check_headers,
    event_headers,
    http_headers,
    kept_request_headers,
    kept_response_headers,
    schedule_headers,
)

NOWHERE = {
    "x-appwrite-country-code": "",
    "x-appwrite-continent-code": "",
    "x-appwrite-continent-eu": "false",
}
AGENT = {"user-agent": f"Appwrite/{__version__}"}


class TestOfTriggers:
    def test_event_brings_its_name_and_no_token(self) -> None:
        headers = event_headers(execution_id="e", key="k", event="users.ada.create", user_id="ada")
        assert headers == AGENT | NOWHERE | {
            "content-type": "application/json",
            "x-appwrite-execution-id": "e",
            "x-appwrite-key": "k",
            "x-appwrite-trigger": "event",
            "x-appwrite-event": "users.ada.create",
            "x-appwrite-user-id": "ada",
            "x-appwrite-user-jwt": "",
        }

    def test_caller_over_http_brings_their_own_headers_and_a_token(self) -> None:
        headers = http_headers(
            {"accept": "text/html"},
            execution_id="e",
            key="k",
            user_id="ada",
            user_jwt="j",
            client_ip="192.0.2.1",
        )
        assert headers == AGENT | NOWHERE | {
            "accept": "text/html",
            "x-appwrite-execution-id": "e",
            "x-appwrite-key": "k",
            "x-appwrite-trigger": "http",
            "x-appwrite-user-id": "ada",
            "x-appwrite-user-jwt": "j",
            "x-appwrite-client-ip": "192.0.2.1",
        }

    def test_schedule_brings_nobody(self) -> None:
        headers = schedule_headers(execution_id="e", key="")
        assert headers == AGENT | NOWHERE | {
            "x-appwrite-execution-id": "e",
            "x-appwrite-key": "",
            "x-appwrite-trigger": "schedule",
            "x-appwrite-user-id": "",
            "x-appwrite-user-jwt": "",
        }


class TestCheck:
    def test_names_become_lower_case_and_those_of_the_server_are_left_out(self) -> None:
        given_headers = {"Content-Type": "text/plain", "X-APPWRITE-User-Id": "root", "x-appwrite-key": "mine"}
        assert check_headers(given_headers) == {"content-type": "text/plain"}

    @pytest.mark.parametrize(
        "headers",
        [
            {"": "x"},
            {"a b": "x"},
            {"a:": "x"},
            {"ä": "x"},
            {"n" * 129: "x"},
            {"a": "x\r\nb: y"},
            {"a": "\0"},
            {"a": "日"},
            {"a": "x" * 8193},
            {f"a{number}": "" for number in range(101)},
        ],
    )
    def test_what_cannot_be_sent_is_refused(self, headers: dict[str, str]) -> None:
        with pytest.raises(ValueError, match="header"):
            check_headers(headers)

    @given(st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=5))
    def test_what_passes_can_be_written_as_http(self, headers: dict[str, str]) -> None:
        try:
            checked = check_headers(headers)
        except ValueError:
            return
        written = "".join(f"{name}: {value}\r\n" for name, value in checked.items()).encode("latin-1")
        assert written.count(b"\r") == written.count(b"\n") == len(checked)
        assert all(re.fullmatch(r"[^\s:]+", name) for name in checked)
        assert not set("".join(checked)) & set(string.ascii_uppercase)


class TestKept:
    def test_request_keeps_what_is_no_secret(self) -> None:
        headers = {
            "Content-Type": "a",
            "Authorization": "b",
            "Cookie": "c",
            "host": "d",
            "X-Appwrite-Client-IP": "e",
        }
        assert kept_request_headers(headers) == {
            "content-type": "a",
            "host": "d",
            "x-appwrite-client-ip": "e",
        }

    def test_response_keeps_type_and_length(self) -> None:
        headers = {"CONTENT-LENGTH": "1", "Set-Cookie": "s", "content-type": "a"}
        assert kept_response_headers(headers) == {"content-type": "a", "content-length": "1"}
