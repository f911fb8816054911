"""The lists of the Locale service."""

from collections.abc import Callable
from typing import Any

import pytest

from workers.api.locale import names

LISTS: tuple[Callable[[str], list[Any]], ...] = (
    names.continents,
    names.countries,
    names.eu_countries,
    names.phones,
    names.currencies,
)


def by_code(listed: list[Any], key: str = "code") -> dict[str, Any]:
    return {each[key]: each for each in listed}


class TestCountries:
    def test_every_country_is_named_in_the_language(self) -> None:
        english, german = by_code(names.countries("en")), by_code(names.countries("de"))
        assert english.keys() == german.keys()
        assert len(english) > 240
        assert (english["DE"]["name"], german["DE"]["name"]) == ("Germany", "Deutschland")
        assert by_code(names.countries("ja"))["JP"]["name"] == "日本"

    def test_names_are_sorted_without_regard_to_accents(self) -> None:
        listed = [each["name"] for each in names.countries("en")]
        assert listed[:3] == ["Afghanistan", "Åland Islands", "Albania"]

    def test_europe_has_twenty_seven_members(self) -> None:
        members = {each["code"] for each in names.eu_countries("en")}
        assert len(members) == 27
        assert {"DE", "GR", "HR"} <= members
        assert not members & {"GB", "XI", "CH"}


class TestContinents:
    def test_there_are_seven(self) -> None:
        assert [(each["code"], each["name"]) for each in names.continents("en")] == [
            ("AF", "Africa"),
            ("AN", "Antarctica"),
            ("AS", "Asia"),
            ("EU", "Europe"),
            ("NA", "North America"),
            ("OC", "Oceania"),
            ("SA", "South America"),
        ]


class TestPhones:
    def test_code_is_that_of_the_country(self) -> None:
        phones = by_code(names.phones("fr"), "countryCode")
        assert phones["DE"] == {"code": "+49", "countryCode": "DE", "countryName": "Allemagne"}
        assert "AQ" not in phones


class TestCurrencies:
    def test_currency_is_described_in_the_language(self) -> None:
        assert by_code(names.currencies("en"))["CAD"] == {
            "symbol": "CA$",
            "name": "Canadian Dollar",
            "symbolNative": "$",
            "decimalDigits": 2,
            "rounding": 0.05,
            "code": "CAD",
            "namePlural": "Canadian dollars",
        }

    def test_digits_differ(self) -> None:
        currencies = by_code(names.currencies("en"))
        assert {code: currencies[code]["decimalDigits"] for code in ("JPY", "EUR", "KWD")} == {
            "JPY": 0,
            "EUR": 2,
            "KWD": 3,
        }

    def test_only_current_ones_are_listed(self) -> None:
        assert not by_code(names.currencies("en")).keys() & {"DEM", "FRF", "XXX"}


class TestLanguages:
    def test_language_is_named_in_english_and_in_itself(self) -> None:
        languages = by_code(names.languages())
        assert languages["ja"] == {"name": "Japanese", "code": "ja", "nativeName": "日本語"}
        assert all(each["nativeName"] and len(each["code"]) == 2 for each in languages.values())
        assert len(languages) > 180


class TestLocaleCodes:
    def test_codes_name_locales(self) -> None:
        codes = by_code(names.locale_codes())
        assert codes["pt-br"] == {"code": "pt-br", "name": "Portuguese (Brazil)"}


@pytest.mark.parametrize("make", LISTS)
@pytest.mark.parametrize("locale", ["en", "pt_BR", "ar", "zh_Hant_TW", "ii"])
def test_every_entry_has_every_text(make: Callable[[str], list[Any]], locale: str) -> None:
    listed = make(locale)
    assert listed
    assert len({tuple(each.values()) for each in listed}) == len(listed)
    assert all(value != "" for each in listed for value in each.values())
