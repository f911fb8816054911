"""From executions to calls."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.identity.jwt import TokenVerifier
from workers.functions.calls import CallFactory, Request
from workers.functions.ephemeral_keys import EphemeralKeys
from workers.functions.executor import Call, Code
from workers.store.sealing import Sealer, UnsealError

SEALER = Sealer(["a key"])
NOW = 1_000_000.0

CODE = Code(
    function_id="hello",
    name="Hello",
    runtime="node-22",
    entrypoint="main.js",
    commands="",
    timeout_s=15,
    scopes=("rows.read",),
    deployment_id="d",
    storage_key="demo/deployment/d",
    size_bytes=1,
)


def call(trigger: str, request: Request, *, secrets: tuple[str, ...] = ("old", "new")) -> Call:
    factory = CallFactory(secrets, EphemeralKeys(SEALER, clock=lambda: NOW), clock=lambda: NOW)
    execution: Mapping[Any, Any] = {
        "id": "e",
        "trigger": trigger,
        "depth": 3,
        "request_method": "POST",
        "request_path": "/x",
    }
    return factory.make("demo", CODE, execution, request, dict)


class TestRequest:
    @given(st.dictionaries(st.text(), st.text()), st.binary(), st.text(), st.text())
    def test_unsealed_is_what_was_sealed(
        self, headers: dict[str, str], body: bytes, user_id: str, event: str
    ) -> None:
        request = Request(headers=headers, body=body, user_id=user_id, event=event)
        assert Request.unseal(SEALER, request.seal(SEALER)) == request

    def test_sealed_shows_nothing_and_needs_the_key(self) -> None:
        sealed = Request(body=b"a secret").seal(SEALER)
        assert "secret" not in sealed
        with pytest.raises(UnsealError):
            Request.unseal(Sealer(["another"]), sealed)


class TestCallFactory:
    async def test_credentials_are_good_until_a_minute_after_the_timeout(self) -> None:
        made = call("http", Request(user_id="ada", session_id="s"))
        claims = await TokenVerifier(["new"], clock=lambda: NOW).verify(made.headers["x-appwrite-user-jwt"])
        assert claims == {
            "userId": "ada", "sessionId": "s", "project": "demo", "iat": NOW, "exp": NOW + 75, "depth": 3,
        }  # fmt: skip
        key = await EphemeralKeys(SEALER, clock=lambda: NOW).open("demo", made.headers["x-appwrite-key"])
        assert (key.scopes, key.expires_at) == (("rows.read",), NOW + 75)

    def test_nobody_is_stood_for_where_nobody_can_be(self) -> None:
        for made in (
            call("http", Request()),
            call("http", Request(user_id="ada"), secrets=()),
            call("event", Request(user_id="ada", event="users.ada.create")),
            call("schedule", Request()),
        ):
            assert made.headers["x-appwrite-user-jwt"] == ""
            assert made.headers["x-appwrite-execution-id"] == "e"
            assert made.headers["x-appwrite-trigger"] == made.trigger

    def test_event_is_named_and_what_was_given_is_sent(self) -> None:
        made = call("event", Request(body=b"{}", event="users.ada.create", user_id="ada"))
        assert made.headers["x-appwrite-event"] == "users.ada.create"
        assert (made.method, made.path, made.body) == ("POST", "/x", b"{}")
        assert call("http", Request(headers={"accept": "a"})).headers["accept"] == "a"

    def test_nothing_secret_is_in_its_text(self) -> None:
        made = call("http", Request(body=b"a secret body", headers={"authorization": "a secret header"}))
        assert "secret" not in repr(made)
        assert "ephemeral_" not in repr(made)
