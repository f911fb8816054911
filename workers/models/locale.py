"""Countries, continents, languages, currencies and phone codes, as clients are shown them. Pure."""

from typing_extensions import TypedDict


class Locale(TypedDict):
    """Where a request comes from, as far as it is known."""

    ip: str
    countryCode: str
    country: str
    continentCode: str
    continent: str
    eu: bool
    currency: str


class LocaleCode(TypedDict):
    """A locale that names can be asked for in, with its English name."""

    code: str
    name: str


class LocaleCodeList(TypedDict):
    """All of them."""

    total: int
    localeCodes: list[LocaleCode]


class Continent(TypedDict):
    """A continent with its code of two letters."""

    name: str
    code: str


class ContinentList(TypedDict):
    """All of them."""

    total: int
    continents: list[Continent]


class Country(TypedDict):
    """A country with its code of ISO 3166-1 (alpha-2)."""

    name: str
    code: str


class CountryList(TypedDict):
    """All of them, or those of the European Union."""

    total: int
    countries: list[Country]


class Phone(TypedDict):
    """How phone numbers of a country begin, such as ``+49``."""

    code: str
    countryCode: str
    countryName: str


class PhoneList(TypedDict):
    """All of them."""

    total: int
    phones: list[Phone]


class Currency(TypedDict):
    """A currency with its code of ISO 4217."""

    symbol: str
    name: str
    symbolNative: str
    decimalDigits: int
    rounding: float
    """The least amount that is paid in cash, where that is more than the digits say; else 0."""
    code: str
    namePlural: str


class CurrencyList(TypedDict):
    """All that are in use."""

    total: int
    currencies: list[Currency]


class Language(TypedDict):
    """A language with its code of ISO 639-1, its English name, and its name in itself."""

    name: str
    code: str
    nativeName: str


class LanguageList(TypedDict):
    """All of them."""

    total: int
    languages: list[Language]
