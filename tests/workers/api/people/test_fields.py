"""What people may be called, and where they may be reached."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from workers.api.people.fields import MAX_PREFS_BYTES, MAX_PREFS_DEPTH, Email, OptionalEmail, Phone, Prefs

EMAIL: TypeAdapter[str] = TypeAdapter(Email)
PHONE: TypeAdapter[str] = TypeAdapter(Phone)
PREFS: TypeAdapter[dict[str, Any]] = TypeAdapter(Prefs)


class TestEmail:
    @pytest.mark.parametrize(
        ("text", "stored"),
        [
            ("Ada@Example.COM", "ada@example.com"),
            ("a.b+c@localhost.test", "a.b+c@localhost.test"),
            ("jürgen@BÜCHER.example", "jürgen@bücher.example"),
        ],
    )
    def test_address_is_kept_in_lower_case(self, text: str, stored: str) -> None:
        assert EMAIL.validate_python(text) == stored

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ada",
            "ada@",
            "@example.com",
            "ada@localhost",
            "a b@example.com",
            "ada@example.com\n",
            "a\0@b.com",
            7,
        ],
    )
    def test_other_texts_are_refused(self, text: object) -> None:
        with pytest.raises(ValidationError):
            EMAIL.validate_python(text)

    def test_empty_text_is_none_where_none_is_allowed(self) -> None:
        optional: TypeAdapter[str | None] = TypeAdapter(OptionalEmail)

        assert optional.validate_python("") is None
        assert optional.validate_python(None) is None
        assert optional.validate_python("a@example.com") == "a@example.com"


class TestPhone:
    @pytest.mark.parametrize("text", ["+1", "+15550100", "+123456789012345"])
    def test_e164_number_is_kept(self, text: str) -> None:
        assert PHONE.validate_python(text) == text

    @pytest.mark.parametrize(
        "text", ["", "+", "15550100", "+0123", "+1 555", "+1234567890123456", "+1\n", "+١٢٣"]
    )
    def test_other_texts_are_refused(self, text: str) -> None:
        with pytest.raises(ValidationError):
            PHONE.validate_python(text)


class TestPrefs:
    def test_object_within_the_limit_is_kept(self) -> None:
        prefs = {"a": "x" * (MAX_PREFS_BYTES - len('{"a":""}'))}

        assert PREFS.validate_python(prefs) == prefs

    def test_object_as_deep_as_the_limit_is_kept_and_a_deeper_one_refused(self) -> None:
        prefs: dict[str, Any] = {}
        for _ in range(MAX_PREFS_DEPTH // 2):
            prefs = {"a": [prefs]}

        assert PREFS.validate_python(prefs) == prefs
        with pytest.raises(ValidationError, match="nested at most"):
            PREFS.validate_python({"a": prefs})

    @pytest.mark.parametrize(
        "prefs", [{"a": "x" * MAX_PREFS_BYTES}, {"a": 2**70}, {"a": "\ud800"}, ["a"], "a", None]
    )
    def test_what_is_too_large_or_no_object_is_refused(self, prefs: object) -> None:
        with pytest.raises(ValidationError):
            PREFS.validate_python(prefs)
