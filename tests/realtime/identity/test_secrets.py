import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.identity.secrets import decode_session, encode_session, hash_secret, verify_secret

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


def value_of(document: object) -> str:
    return base64.b64encode(json.dumps(document).encode()).decode()


class TestSessionValue:
    def test_encode_gives_base64_of_the_documented_object(self) -> None:
        assert encode_session("u1", "s3cret") == base64.b64encode(b'{"id":"u1","secret":"s3cret"}').decode()

    @given(TEXT.filter(bool), TEXT)
    @settings(max_examples=200)
    def test_decode_gives_back_what_was_encoded(self, user_id: str, secret: str) -> None:
        assert decode_session(encode_session(user_id, secret)) == (user_id, secret)

    def test_further_members_are_ignored(self) -> None:
        assert decode_session(value_of({"secret": "s", "more": [1], "id": "u"})) == ("u", "s")

    def test_one_of_the_two_is_enough_to_be_a_value(self) -> None:
        assert decode_session(value_of({"id": "u"})) == ("u", "")
        assert decode_session(value_of({"secret": "s", "id": 7})) == ("", "s")

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "not base64!",
            "é",
            encode_session("u", "s").rstrip("=") + "%3D",
            base64.b64encode(b'{"id":"u","secret":"ss"}').decode() + "\n",
            base64.b64encode(b'{"id":"u"').decode(),
            base64.b64encode(b"\xff\xfe{}").decode(),
            base64.b64encode(b'{"id":"\xff"}').decode(),
            base64.b64encode(b'{"id":"\\ud800"}').decode(),
            base64.b64encode(b'{"id":' + b"[" * 100_000).decode(),
            value_of(["u", "s"]),
            value_of("text"),
            value_of(None),
            value_of({}),
            value_of({"id": "", "secret": ""}),
            value_of({"id": 1, "secret": None}),
        ],
    )
    def test_what_cannot_be_decoded_is_no_session(self, value: str) -> None:
        assert decode_session(value) is None

    def test_missing_padding_is_no_session(self) -> None:
        value = next(v for v in (encode_session("u", "s" * n) for n in range(3)) if v.endswith("="))
        assert decode_session(value) is not None
        assert decode_session(value.rstrip("=")) is None

    @given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
    @settings(max_examples=200)
    def test_any_text_is_decoded_or_none(self, value: str) -> None:
        decoded = decode_session(value)
        assert decoded is None or any(decoded)


class TestHashes:
    def test_hash_is_sha3_512_in_lower_case_hex(self) -> None:
        assert hash_secret("secret") == hashlib.sha3_512(b"secret").hexdigest()

    def test_both_hash_functions_are_told_apart_by_length(self) -> None:
        assert verify_secret("secret", hashlib.sha3_512(b"secret").hexdigest())
        assert verify_secret("secret", hashlib.sha256(b"secret").hexdigest())

    @pytest.mark.parametrize("function", [hashlib.sha3_512, hashlib.sha256])
    def test_another_secret_does_not_match(self, function: Callable[[bytes], Any]) -> None:
        assert not verify_secret("Secret", function(b"secret").hexdigest())

    @pytest.mark.parametrize(
        "stored",
        ["", "secret", hashlib.sha512(b"secret").hexdigest(), "é" * 64, hashlib.md5(b"secret").hexdigest()],
    )
    def test_what_is_no_known_hash_never_matches(self, stored: str) -> None:
        assert not verify_secret("secret", stored)

    def test_empty_secret_never_matches(self) -> None:
        assert not verify_secret("", hash_secret(""))

    def test_half_a_surrogate_pair_is_only_a_wrong_secret(self) -> None:
        assert not verify_secret("\ud800", hash_secret("secret"))
