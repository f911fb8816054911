from typing import Any

import pytest

from realtime.errors import InvalidCredentialError
from realtime.identity.claims import UserClaims, parse_claims
from realtime.identity.model import Membership, User


class TestUserOfTheReadModel:
    def test_user_and_session_are_named(self) -> None:
        claims = {"userId": "u", "sessionId": "s", "exp": 1, "iat": 0}
        assert parse_claims(claims, "p") == UserClaims("u", "s", 0.0)

    @pytest.mark.parametrize("claims", [{"userId": "u"}, {"userId": "u", "sessionId": None, "sub": None}])
    def test_session_is_optional(self, claims: dict[str, Any]) -> None:
        assert parse_claims(claims, "p") == UserClaims("u", "")

    def test_console_accepts_it_as_well(self) -> None:
        assert parse_claims({"userId": "u"}, "console") == UserClaims("u", "")


class TestIdentityOfItsOwn:
    def test_all_claims_make_a_user(self) -> None:
        claims = {
            "sub": "u",
            "name": "Ada",
            "email": "a@b.c",
            "verified": True,
            "labels": ["vip"],
            "teams": [
                "t1",
                "t2/owner",
                {"id": "t3", "roles": ["dev", "ops"], "membershipId": "m"},
                {"id": "t4"},
            ],
            "iss": "somebody",
        }
        assert parse_claims(claims, "p") == User(
            "u",
            name="Ada",
            email="a@b.c",
            email_verified=True,
            labels=("vip",),
            memberships=(
                Membership("", "t1"),
                Membership("", "t2", ("owner",)),
                Membership("m", "t3", ("dev", "ops")),
                Membership("", "t4"),
            ),
        )

    def test_sub_alone_is_enough(self) -> None:
        assert parse_claims({"sub": "auth0|62f1", "name": None, "teams": None}, "p") == User("auth0|62f1")

    def test_sub_decides_the_form_when_both_are_there(self) -> None:
        assert parse_claims({"sub": "u", "userId": "v"}, "p") == User("u")


class TestProjects:
    @pytest.mark.parametrize(
        "limit", [{"project": "p"}, {"projects": ["o", "p"]}, {"project": "o", "projects": ["p"]}]
    )
    @pytest.mark.parametrize("form", ["sub", "userId"])
    def test_named_project_is_accepted(self, form: str, limit: dict[str, Any]) -> None:
        parse_claims({form: "u", **limit}, "p")

    @pytest.mark.parametrize(
        "limit", [{"project": "o"}, {"project": ""}, {"projects": []}, {"projects": ["P"]}]
    )
    @pytest.mark.parametrize("form", ["sub", "userId"])
    def test_other_projects_are_refused(self, form: str, limit: dict[str, Any]) -> None:
        with pytest.raises(InvalidCredentialError, match=r"^Invalid token: Not for this project$"):
            parse_claims({form: "u", **limit}, "p")

    def test_console_must_be_named(self) -> None:
        with pytest.raises(InvalidCredentialError, match="Not for this project"):
            parse_claims({"sub": "u", "teams": ["t"]}, "console")
        assert parse_claims({"sub": "u", "project": "console"}, "console") == User("u")

    @pytest.mark.parametrize(
        "limit", [{"project": None}, {"projects": None}, {"projects": "p"}, {"project": 1}]
    )
    def test_limit_of_another_form_is_refused(self, limit: dict[str, Any]) -> None:
        with pytest.raises(InvalidCredentialError):
            parse_claims({"sub": "u", **limit}, "p")


class TestRefused:
    @pytest.mark.parametrize(
        "claims",
        [
            {},
            {"userId": 5},
            {"sub": 5},
            {"sub": ""},
            {"sub": "a/verified"},
            {"sub": "a:b"},
            {"sub": "u", "verified": "yes"},
            {"sub": "u", "name": 5},
            {"sub": "u", "labels": "vip"},
            {"sub": "u", "labels": [""]},
            {"sub": "u", "labels": ["a b"]},
            {"sub": "u", "teams": {"id": "t"}},
            {"sub": "u", "teams": ["t/"]},
            {"sub": "u", "teams": ["t/a/b"]},
            {"sub": "u", "teams": [{"roles": []}]},
            {"sub": "u", "teams": [{"id": "t", "roles": ["a/b"]}]},
            {"sub": "u", "teams": [{"id": "t", "membershipId": "m/1"}]},
        ],
    )
    def test_wrong_claims_are_refused(self, claims: dict[str, Any]) -> None:
        with pytest.raises(InvalidCredentialError, match=r"^Invalid token: "):
            parse_claims(claims, "p")

    def test_text_names_the_claim_and_not_the_value(self) -> None:
        with pytest.raises(InvalidCredentialError) as caught:
            parse_claims({"sub": "u", "labels": ["private thing"]}, "p")
        assert "labels" in str(caught.value)
        assert "private" not in str(caught.value)
