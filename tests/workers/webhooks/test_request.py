import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import __version__
from realtime.triggers.model import Webhook
from workers.outbound.signing import appwrite_signature, standard_signature
from workers.webhooks.request import Credentials, Delivery, request_headers, user_agent

WEBHOOK = Webhook("w1", "Orders", "https://example.com/hook", ("users.*",), "sealed")
DELIVERY = Delivery("shop", "msg_abc", "1-0", ("users.u1.create", "users.*.create"), "ada", b'{"$id":"u1"}')
CREDENTIALS = Credentials(("newest secret",))


def headers(
    webhook: Webhook = WEBHOOK, delivery: Delivery = DELIVERY, credentials: Credentials = CREDENTIALS
) -> dict[str, str]:
    return request_headers(webhook, delivery, credentials, 1_700_000_000, user_agent("abuse@example.com"))


def webhook(name: str = "Orders", auth_username: str = "") -> Webhook:
    return Webhook("w1", name, WEBHOOK.url, WEBHOOK.events, "sealed", auth_username=auth_username)


class TestUserAgent:
    def test_contact_is_told(self) -> None:
        expected = f"realtime/{__version__} (webhooks. Please report abuse at abuse@example.com)"
        assert user_agent("abuse@example.com") == expected

    def test_without_a_contact_there_is_none(self) -> None:
        assert user_agent("") == f"realtime/{__version__} (webhooks)"


class TestRequestHeaders:
    def test_request_is_that_of_the_specification(self) -> None:
        assert headers() == {
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"realtime/{__version__} (webhooks. Please report abuse at abuse@example.com)",
            "X-Appwrite-Webhook-Id": "w1",
            "X-Appwrite-Webhook-Name": "Orders",
            "X-Appwrite-Webhook-Events": "users.u1.create,users.*.create",
            "X-Appwrite-Webhook-User-Id": "ada",
            "X-Appwrite-Webhook-Project-Id": "shop",
            "X-Appwrite-Webhook-Signature": appwrite_signature(
                "newest secret", "https://example.com/hook", b'{"$id":"u1"}'
            ),
            "webhook-id": "msg_abc",
            "webhook-timestamp": "1700000000",
            "webhook-signature": standard_signature(
                ["newest secret"], "msg_abc", 1_700_000_000, b'{"$id":"u1"}'
            ),
        }

    def test_two_secrets_sign_side_by_side_but_for_the_older_signature(self) -> None:
        both = headers(credentials=Credentials(("newest secret", "former secret")))
        former = headers(credentials=Credentials(("former secret",)))
        newest = headers()
        assert both["webhook-signature"] == f"{newest['webhook-signature']} {former['webhook-signature']}"
        name = "X-Appwrite-Webhook-Signature"
        assert both[name] == newest[name] != former[name]

    @pytest.mark.parametrize(
        ("username", "password", "login"),
        [
            ("ada", "lovelace", "ada:lovelace"),
            ("ädä", "päss:wörd\r\nX: y", "ädä:päss:wörd\r\nX: y"),
            ("ada", "", None),
            ("", "lovelace", None),
            ("", "", None),
        ],
    )
    def test_login_is_sent_if_it_is_whole(self, username: str, password: str, login: str | None) -> None:
        sent = headers(webhook(auth_username=username), credentials=Credentials(("secret",), password))
        if login is None:
            assert "Authorization" not in sent
        else:
            scheme, _, encoded = sent["Authorization"].partition(" ")
            assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", login)

    def test_name_is_sent_in_utf8(self) -> None:
        assert headers(webhook("Aufträge 🛒"))["X-Appwrite-Webhook-Name"] == "Aufträge 🛒"

    def test_name_cannot_begin_another_header(self) -> None:
        sent = headers(webhook("Orders\r\nX-Appwrite-Webhook-User-Id: admin\0\x7f"))
        assert sent["X-Appwrite-Webhook-Name"] == "Orders X-Appwrite-Webhook-User-Id: admin"

    @given(st.text(max_size=128), st.text(max_size=256), st.text(max_size=256), st.text(max_size=36))
    def test_no_value_has_a_character_that_ends_it(
        self, name: str, username: str, password: str, actor_id: str
    ) -> None:
        delivery = DELIVERY._replace(actor_id=actor_id)
        sent = headers(webhook(name, username), delivery, Credentials(("secret",), password))
        for value in sent.values():
            assert not set(value) & {*map(chr, range(32)), "\x7f"}
            assert value == value.strip(" ")
