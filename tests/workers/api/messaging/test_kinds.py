"""The kinds of providers: what is a secret, and what is needed."""

from typing import Any

import pydantic
import pytest

from workers.api.messaging.kinds import KINDS


def check(kind: str, **values: Any) -> dict[str, Any]:
    """Return what a body of a kind is read as."""
    body = KINDS[kind].new_body.model_validate({"providerId": "p", "name": "P", **values})
    return body.model_dump(exclude_none=True, exclude={"providerId", "name"})


class TestKinds:
    def test_there_are_those_of_the_sdk(self) -> None:
        assert {(kind.word, kind.delivers) for kind in KINDS.values()} == {
            ("mailgun", "email"),
            ("sendgrid", "email"),
            ("resend", "email"),
            ("ses", "email"),
            ("smtp", "email"),
            ("msg91", "sms"),
            ("telesign", "sms"),
            ("textmagic", "sms"),
            ("twilio", "sms"),
            ("vonage", "sms"),
            ("fcm", "push"),
            ("apns", "push"),
        }

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_has_a_secret(self, kind: str) -> None:
        assert [each.name for each in KINDS[kind].parameters if each.home == "secret"]

    @pytest.mark.parametrize("kind", KINDS)
    def test_names_are_there_once(self, kind: str) -> None:
        names = [each.name for each in KINDS[kind].parameters]
        assert len(set(names)) == len(names)

    @pytest.mark.parametrize("kind", KINDS)
    def test_nothing_has_to_be_said_at_once(self, kind: str) -> None:
        assert check(kind) == {}


class TestMissing:
    def test_what_is_not_said_or_empty_is_missing(self) -> None:
        assert KINDS["twilio"].missing({"accountSid": "", "authToken": None}) == [
            "accountSid",
            "authToken",
            "from",
        ]

    def test_false_is_said(self) -> None:
        given = {"apiKey": "k", "domain": "d", "isEuRegion": False, "fromEmail": "a@b.cd"}
        assert KINDS["mailgun"].missing(given) == []

    def test_mail_server_needs_no_login(self) -> None:
        assert KINDS["smtp"].missing({"host": "h", "port": 25, "fromEmail": "a@b.cd"}) == []


class TestBody:
    def test_email_address_is_put_in_order(self) -> None:
        assert check("resend", fromEmail="Ann@Example.com") == {"fromEmail": "ann@example.com"}

    def test_empty_text_says_that_there_is_nothing(self) -> None:
        assert check("twilio", **{"from": "", "authToken": ""}) == {"from": "", "authToken": ""}

    def test_account_may_be_an_object_or_its_text(self) -> None:
        account = {"project_id": "p"}
        assert check("fcm", serviceAccountJSON=account) == {"serviceAccountJSON": account}
        assert check("fcm", serviceAccountJSON='{"project_id": "p"}') == {"serviceAccountJSON": account}

    @pytest.mark.parametrize(
        ("kind", "values"),
        [
            ("smtp", {"host": "https://example.com"}),
            ("smtp", {"host": ";".join(["a.example"] * 6)}),
            ("smtp", {"host": "a\r\nb"}),
            ("smtp", {"port": 0}),
            ("smtp", {"port": 65_536}),
            ("smtp", {"encryption": "rot13"}),
            ("smtp", {"fromName": "Ann\r\nBcc: eve@example.com"}),
            ("smtp", {"mailer": "a\nb"}),
            ("smtp", {"fromEmail": "nobody"}),
            ("smtp", {"replyToEmail": "a@b@c"}),
            ("twilio", {"from": "0123"}),
            ("sendgrid", {"apiKey": "k" * 1025}),
            ("apns", {"authKey": "k" * 16_385}),
            ("fcm", {"serviceAccountJSON": "{"}),
            ("fcm", {"serviceAccountJSON": "[]"}),
            ("fcm", {"serviceAccountJSON": {"key": "k" * 16_385}}),
            ("fcm", {"serviceAccountJSON": {"number": 2**64}}),
            ("fcm", {"serviceAccountJSON": {"key": "\ud800"}}),
            ("sendgrid", {"apiKey": "\ud800"}),
            ("smtp", {"fromName": "\ud800"}),
        ],
    )
    def test_what_cannot_be_is_refused(self, kind: str, values: dict[str, Any]) -> None:
        with pytest.raises(pydantic.ValidationError):
            check(kind, **values)
