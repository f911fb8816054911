"""Second factors: which a person has, and when a session lacks one."""

from itertools import product
from typing import Any

import pytest

from workers.models.mfa import factors_model, lacks_factor


def user(**changes: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = {
        "mfa": True,
        "email": None,
        "email_verified": False,
        "totp_secret": None,
        "totp_verified": False,
        "mfa_recovery_codes": [],
    }
    return nothing | changes


class TestFactorsModel:
    def test_authenticator_and_address_count_once_verified(self) -> None:
        unverified = user(email="a@b.c", totp_secret="S", mfa_recovery_codes=["hash"])
        verified = unverified | {"email_verified": True, "totp_verified": True}
        assert factors_model(unverified) == {
            "totp": False,
            "phone": False,
            "email": False,
            "recoveryCode": True,
            "custom": False,
        }
        assert (factors_model(verified)["totp"], factors_model(verified)["email"]) == (True, True)


class TestLacksFactor:
    @pytest.mark.parametrize("shown", [["password"], ["email"], ["anonymous"], ["token"]])
    def test_nobody_is_locked_out(self, shown: list[str]) -> None:
        """Who lacks a factor can always show one that they did not show yet."""
        for email, totp in product((False, True), repeat=2):
            person = user(email="a@b.c", email_verified=email, totp_secret="S", totp_verified=totp)
            available = {name for name, has in (("email", email), ("totp", totp)) if has}
            assert lacks_factor(person, shown) is bool(available - set(shown))

    def test_two_factors_are_enough(self) -> None:
        person = user(email="a@b.c", email_verified=True, totp_secret="S", totp_verified=True)
        assert lacks_factor(person, ["password"])
        assert not lacks_factor(person, ["password", "recoverycode"])

    def test_who_does_not_ask_for_it_lacks_nothing(self) -> None:
        assert not lacks_factor(user(mfa=False, email="a@b.c", email_verified=True), ["password"])
