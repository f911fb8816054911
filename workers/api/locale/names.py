"""The lists of the Locale service, made from what libraries know. Pure.

A list is made once for each locale and kept, for the locales that were asked for last. What a locale has no name for
keeps its English one. babel keeps what it has read of a locale for good: 0.2 MB each, 190 MB for all of a thousand.
"""

import functools
import unicodedata
from collections.abc import Callable, Sequence
from typing import TypeVar

import phonenumbers
import pycountry
from babel import Locale
from babel.core import get_global
from babel.localedata import locale_identifiers
from babel.numbers import get_currency_name, get_currency_symbol
from stdnum.eu.vat import MEMBER_STATES

from workers.models.locale import Continent, Country, Currency, Language, LocaleCode, Phone

_KEPT = 64

_ENGLISH = "en"

_CONTINENTS = {"AF": "002", "AN": "AQ", "AS": "142", "EU": "150", "NA": "003", "OC": "009", "SA": "005"}
"""The region of UN M49 that each continent is, by which the CLDR names it; of Antarctica, the code of ISO 3166-1."""

List = TypeVar("List", bound=Sequence[object])


def _kept(make: Callable[[str], List]) -> Callable[[str], List]:
    return functools.lru_cache(maxsize=_KEPT)(make)


@_kept
def continents(locale: str) -> list[Continent]:
    """List the continents, by name."""
    listed: list[Continent] = [
        {"name": _territory(region, locale), "code": code} for code, region in _CONTINENTS.items()
    ]
    return sorted(listed, key=lambda each: _collated(each["name"]))


@_kept
def countries(locale: str) -> list[Country]:
    """List the countries and territories of ISO 3166-1, by name."""
    codes: list[str] = [country.alpha_2 for country in pycountry.countries]
    listed: list[Country] = [{"name": _territory(code, locale), "code": code} for code in codes]
    return sorted(listed, key=lambda each: _collated(each["name"]))


def _territory(code: str, locale: str) -> str:
    name: str | None = Locale.parse(locale).territories.get(code)
    return name or Locale.parse(_ENGLISH).territories[code]


@_kept
def eu_countries(locale: str) -> list[Country]:
    """List the members of the European Union, by name."""
    # Northern Ireland is among those that matter to taxes; it is no country of ISO 3166-1.
    return [each for each in countries(locale) if each["code"].lower() in MEMBER_STATES]


@_kept
def phones(locale: str) -> list[Phone]:
    """List the phone codes of countries that have any, by the name of the country."""
    return [
        {"code": f"+{code}", "countryCode": country["code"], "countryName": country["name"]}
        for country in countries(locale)
        if (code := phonenumbers.country_code_for_region(country["code"]))
    ]


@_kept
def currencies(locale: str) -> list[Currency]:
    """List the currencies that are legal tender somewhere, by name."""
    return sorted([_currency(code, locale) for code in _tenders()], key=lambda each: _collated(each["name"]))


def _currency(code: str, locale: str) -> Currency:
    fractions = get_global("currency_fractions")
    digits, _, cash_digits, cash_rounding = fractions.get(code, fractions["DEFAULT"])
    return {
        "symbol": get_currency_symbol(code, locale),
        "name": get_currency_name(code, locale=locale),
        "symbolNative": _native_symbol(code),
        "decimalDigits": digits,
        "rounding": round(cash_rounding / 10**cash_digits, cash_digits),
        "code": code,
        "namePlural": get_currency_name(code, count=2, locale=locale),
    }


@functools.cache
def _tenders() -> dict[str, list[str]]:
    """Return the countries of each currency in use, the one that it is named after first."""
    found: dict[str, list[str]] = {}
    for territory, entries in sorted(get_global("territory_currencies").items()):
        if pycountry.countries.get(alpha_2=territory) is None:
            continue
        for code, _, end, is_tender in entries:
            if end is None and is_tender:
                found.setdefault(code, []).append(territory)
    return {code: sorted(where, key=lambda each: each != code[:2]) for code, where in found.items()}


@functools.cache
def _native_symbol(code: str) -> str:
    """Return how a currency is written where it is money."""
    territory = _tenders()[code][0]
    spoken = get_global("territory_languages").get(territory, {})
    languages = sorted(spoken, key=lambda each: -spoken[each]["population_percent"])
    for language in languages:
        locale = f"{language}_{territory}"
        if locale in _identifiers():
            return get_currency_symbol(code, locale)
    return get_currency_symbol(code, _ENGLISH)


@functools.cache
def languages() -> list[Language]:
    """List the languages of ISO 639-1 by their English names. Those of which the CLDR knows little keep these names."""
    listed: list[Language] = []
    for language in pycountry.languages:
        code = getattr(language, "alpha_2", None)
        if code is not None:
            name = Locale.parse(_ENGLISH).languages.get(code, language.name)
            listed.append({"name": name, "code": code, "nativeName": _native_name(code) or name})
    return sorted(listed, key=lambda each: _collated(each["name"]))


def _native_name(code: str) -> str | None:
    return Locale.parse(code).languages.get(code) if code in _identifiers() else None


@functools.cache
def locale_codes() -> list[LocaleCode]:
    """List the locales that names can be asked for in, by code."""
    return [
        {
            "code": identifier.replace("_", "-").lower(),
            "name": Locale.parse(identifier).get_display_name(_ENGLISH) or identifier,
        }
        for identifier in sorted(_identifiers())
    ]


@functools.cache
def _identifiers() -> frozenset[str]:
    return frozenset(locale_identifiers())


def _collated(name: str) -> str:
    """Return what a name is sorted by: its letters without case and accents."""
    return "".join(
        char for char in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(char)
    )
