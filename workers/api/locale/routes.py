"""Routes of the Locale service. Lists are made in a thread, since the first one of a language reads files."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from workers.api.access import requires
from workers.api.addresses import address_of
from workers.api.locale import names
from workers.api.locale.choice import choose_locale
from workers.api.responses import documented, respond
from workers.models.locale import (
    ContinentList,
    CountryList,
    CurrencyList,
    LanguageList,
    Locale,
    LocaleCodeList,
    PhoneList,
)

router = APIRouter(tags=["locale"], dependencies=[Depends(requires("locale.read"))])


async def requested_locale(request: Request) -> str:
    """Return the locale that a request asks for names in."""
    return choose_locale(
        request.headers.get("X-Appwrite-Locale", ""), request.headers.get("Accept-Language", "")
    )


InLocale = Annotated[str, Depends(requested_locale)]


@router.get("/v1/locale", response_model=None, responses=documented(Locale), operation_id="localeGet")
async def get_locale(request: Request) -> Response:
    """Return the address of the caller. Where it is is not looked up: that takes a database that changes weekly."""
    model: Locale = {
        "ip": address_of(request),
        "countryCode": "--",
        "country": "Unknown",
        "continentCode": "--",
        "continent": "Unknown",
        "eu": False,
        "currency": "",
    }
    return respond(model)


@router.get(
    "/v1/locale/codes",
    response_model=None,
    responses=documented(LocaleCodeList),
    operation_id="localeListCodes",
)
async def list_codes() -> Response:
    """List the locales that names can be asked for in."""
    return await _listed("localeCodes", names.locale_codes)


@router.get(
    "/v1/locale/continents",
    response_model=None,
    responses=documented(ContinentList),
    operation_id="localeListContinents",
)
async def list_continents(locale: InLocale) -> Response:
    """List the continents."""
    return await _listed("continents", names.continents, locale)


@router.get(
    "/v1/locale/countries",
    response_model=None,
    responses=documented(CountryList),
    operation_id="localeListCountries",
)
async def list_countries(locale: InLocale) -> Response:
    """List the countries and territories of ISO 3166-1."""
    return await _listed("countries", names.countries, locale)


@router.get(
    "/v1/locale/countries/eu",
    response_model=None,
    responses=documented(CountryList),
    operation_id="localeListCountriesEU",
)
async def list_eu_countries(locale: InLocale) -> Response:
    """List the members of the European Union."""
    return await _listed("countries", names.eu_countries, locale)


@router.get(
    "/v1/locale/countries/phones",
    response_model=None,
    responses=documented(PhoneList),
    operation_id="localeListCountriesPhones",
)
async def list_phones(locale: InLocale) -> Response:
    """List the phone codes of countries."""
    return await _listed("phones", names.phones, locale)


@router.get(
    "/v1/locale/currencies",
    response_model=None,
    responses=documented(CurrencyList),
    operation_id="localeListCurrencies",
)
async def list_currencies(locale: InLocale) -> Response:
    """List the currencies that are legal tender somewhere."""
    return await _listed("currencies", names.currencies, locale)


@router.get(
    "/v1/locale/languages",
    response_model=None,
    responses=documented(LanguageList),
    operation_id="localeListLanguages",
)
async def list_languages() -> Response:
    """List the languages of ISO 639-1, with their English names and their own."""
    return await _listed("languages", names.languages)


async def _listed(key: str, make: Callable[..., list[Any]], *arguments: str) -> Response:
    listed = await asyncio.to_thread(make, *arguments)
    return respond({"total": len(listed), key: listed})
