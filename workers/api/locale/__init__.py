"""The Locale service: countries, continents, languages, currencies and phone codes, in the language of the caller.

Nothing here is written by hand: names are those of the Unicode CLDR (babel), codes those of ISO (pycountry), phone
codes those of libphonenumber, members of the European Union those of python-stdnum. Source: the Locale reference.
"""

from workers.api.locale.routes import router

__all__ = ["router"]
