"""Names of currencies, languages and countries in both languages, from the Unicode CLDR as Babel ships it."""

from functools import lru_cache

from babel import Locale
from babel.numbers import get_currency_name

_CURRENCIES_TEXT = "USD EUR GBP JPY CNY CAD AUD CHF HKD SGD KRW INR THB SEK NOK DKK MXN BRL NZD TRY PLN ZAR AED VND MYR"
CURRENCIES = tuple(_CURRENCIES_TEXT.split())
_LANGUAGES_TEXT = "en zh es fr de it pt ja ko ru ar hi nl sv pl tr vi th id el cs da fi no hu uk he ro ms sw"
LANGUAGES = tuple(_LANGUAGES_TEXT.split())
_COUNTRIES_TEXT = (
    "US GB FR DE JP CN IN BR CA MX ES IT EG KE NO SE AU TH VN AR CL GR PL KR PT CH NG PE IS ID NZ NL BE AT DK FI "
    "IE ZA MY SG PH AE IL HU CZ RO UA MA CO"
)
COUNTRIES = tuple(_COUNTRIES_TEXT.split())
_SHORT_ZH = {"CAD": ("加元",), "AUD": ("澳元", "澳币"), "SGD": ("新加坡元", "新币"), "HKD": ("港币", "港元")}
_SHORT_EN = {"SGD": ("Singapore dollars",), "AED": ("dirhams",), "PLN": ("zlotys",), "TRY": ("Turkish lira",)}
_LOCALES = {"en": "en_US", "zh": "zh_Hans_CN"}


@lru_cache(maxsize=2)
def _locale(language: str) -> Locale:
    return Locale.parse(_LOCALES[language])


@lru_cache(maxsize=256)
def currency_names(code: str, language: str) -> tuple[str, ...]:
    """What people call a currency, in the plural."""
    known = (_SHORT_ZH if language == "zh" else _SHORT_EN).get(code)
    return known or (get_currency_name(code, count=2, locale=_locale(language)),)


@lru_cache(maxsize=256)
def language_name(code: str, language: str) -> str:
    """Name of the language `code` (ISO 639-1)."""
    return str(_locale(language).languages[code])


@lru_cache(maxsize=256)
def country_name(code: str, language: str) -> str:
    """Name of the country `code` (ISO 3166-1, two letters)."""
    return str(_locale(language).territories[code])
