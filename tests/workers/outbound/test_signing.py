import base64
import hashlib
import hmac
import json
import time

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from workers.outbound.signing import appwrite_signature, standard_key, standard_signature

SECRETS = st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=256)


class TestStandardKey:
    @pytest.mark.parametrize(
        ("secret", "key"),
        [
            ("a secret of mine", b"a secret of mine"),
            ("gärtchen", b"g\xc3\xa4rtchen"),
            ("0f" * 64, b"0f" * 64),
            # The example of the specification of Standard Webhooks.
            (
                "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
                bytes.fromhex("31f290f6bf06298aab4f08d43c3f082cf648a362da2da4b0"),
            ),
            ("whsec_AAEC", b"\0\1\2"),
            ("whsec_AAE=", b"\0\1"),
            ("whsec_AAE", b"\0\1"),
            ("whsec_", b"whsec_"),
            ("whsec_=", b"whsec_="),
            ("whsec_no base 64!", b"whsec_no base 64!"),
            ("whsec_ABCDE", b"whsec_ABCDE"),
            ("whsec_größe", "whsec_größe".encode()),
        ],
    )
    def test_secret_has_its_key(self, secret: str, key: bytes) -> None:
        assert standard_key(secret) == key

    @given(SECRETS.filter(lambda secret: not secret.startswith("whsec_")))
    def test_secret_without_the_prefix_is_the_key(self, secret: str) -> None:
        assert standard_key(secret) == secret.encode()

    @given(st.binary(min_size=1))
    def test_secret_with_the_prefix_is_the_key_in_base64(self, key: bytes) -> None:
        assert standard_key(f"whsec_{base64.b64encode(key).decode()}") == key


class TestStandardSignature:
    def test_it_is_that_of_the_specification(self) -> None:
        """The example of the implementations of Standard Webhooks."""
        signature = standard_signature(
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            b'{"test": 2432232314}',
        )
        assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

    @given(SECRETS, st.dictionaries(st.text(), st.integers() | st.text()))
    def test_library_verifies_it_with_the_secret_as_the_key(
        self, secret: str, payload: dict[str, object]
    ) -> None:
        body = json.dumps(payload).encode()
        headers = signed([secret], body)
        as_documented = secret if standard_key(secret) != secret.encode() else secret.encode()
        in_base64 = base64.b64encode(standard_key(secret)).decode()
        for given_secret in (as_documented, in_base64):
            assert standardwebhooks.Webhook(given_secret).verify(body, headers) == payload

    def test_library_verifies_it_with_either_secret_while_there_are_two(self) -> None:
        headers = signed(["the newest one", "the former one"], b"{}")
        assert len(headers["webhook-signature"].split(" ")) == 2
        for secret in (b"the newest one", b"the former one"):
            standardwebhooks.Webhook(secret).verify(b"{}", headers)
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            standardwebhooks.Webhook(b"another one").verify(b"{}", headers)

    def test_library_refuses_it_for_another_message(self) -> None:
        headers = signed(["the newest one"], b"{}")
        library = standardwebhooks.Webhook(b"the newest one")
        library.verify(b"{}", headers)
        earlier = str(int(headers["webhook-timestamp"]) - 1)
        for body, changes in (
            (b"{ }", {}),
            (b"{}", {"webhook-id": "msg_2"}),
            (b"{}", {"webhook-timestamp": earlier}),
        ):
            with pytest.raises(standardwebhooks.WebhookVerificationError):
                library.verify(body, headers | changes)


class TestAppwriteSignature:
    def test_it_is_that_of_the_original(self) -> None:
        """The recipe of Appwrite's documentation: over URL and body, in Base64 of the digest itself."""
        url, body = "https://example.com/hook?a=ü", b'{"$id":"1"}'
        expected = base64.b64encode(hmac.new(b"secret", url.encode() + body, hashlib.sha1).digest()).decode()
        assert appwrite_signature("secret", url, body) == expected
        assert appwrite_signature("secret", "https://example.com/", b"{}") == "jCW58FHe4f3J+pF0Q/sjZpiFXUc="


def signed(secrets: list[str], body: bytes) -> dict[str, str]:
    now = int(time.time())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(now),
        "webhook-signature": standard_signature(secrets, "msg_1", now, body),
    }
