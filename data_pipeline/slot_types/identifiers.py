"""Codes, addresses of the net, versions and names of files: values that are written the same in every language."""

from collections.abc import Callable
from random import Random

from data_pipeline.slot_types.base import Context, SlotType, Spec, Value, carried, meant, plain
from data_pipeline.slot_types.tables import (
    COUNTRIES,
    CURRENCIES,
    LANGUAGES,
    country_name,
    currency_names,
    language_name,
)

_HOSTS = ("example.com", "example.org", "example.net", "shop.example.com", "blog.example.org", "status.example.net")
_PATHS = ("", "/about", "/docs/start", "/articles/{n}", "/products/{n}", "/team", "/reports/{y}", "/faq", "/p/{n}")
_FILES = (
    ("report invoice contract resume itinerary receipt proposal summary manual", "pdf docx"),
    ("notes minutes draft todo readme changelog", "txt md docx"),
    ("budget schedule inventory survey expenses attendance", "xlsx csv"),
    ("slides roadmap pitch lecture", "pptx pdf"),
    ("photo logo screenshot diagram banner", "png jpg"),
    ("backup export photos sources", "zip"),
    ("config settings metadata export", "json"),
)
"""Stems of file names and the endings that such files have."""
_SUBFOLDERS = ["reports", "invoices", "budgets", "slides", "contracts", "drafts", "surveys", "proposals", "minutes"]
_FOLDERS = ["Documents", "Downloads", "Desktop", "Pictures", "projects", "work", "archive", "shared", "team", "clients"]
_CARRIERS = ["CA", "MU", "CZ", "HU", "UA", "AA", "BA", "LH", "AF", "SQ", "CX", "NH", "EK", "QF"]
_TOPICS = ["login", "search", "checkout", "payments", "dark-mode", "upload", "cache", "export", "signup", "profile"]
_TAGS = ["travel", "fitness", "cooking", "design", "startup", "photography", "parenting", "gaming", "running", "coffee"]
_PROVINCES = "京沪粤浙苏川鲁鄂湘闽陕渝"
_COLOURS = (
    ("#ff0000", "red", "红色"),
    ("#0000ff", "blue", "蓝色"),
    ("#008000", "green", "绿色"),
    ("#ffa500", "orange", "橙色"),
    ("#800080", "purple", "紫色"),
    ("#000000", "black", "黑色"),
    ("#ffffff", "white", "白色"),
    ("#ffd700", "gold", "金色"),
)
_ADJECTIVES = ["blue", "fast", "quiet", "lucky", "sunny", "old", "red", "tiny", "brave", "happy"]
_CREATURES = ["fox", "panda", "otter", "hawk", "cedar", "river", "comet", "maple", "wolf", "robin"]


def _drawn(make: Callable[[Random], str]) -> Callable[[Spec, Context], Value]:
    """A type whose values are written the same by everybody."""

    def draw(spec: Spec, context: Context) -> Value:
        text = make(context.rng)
        return carried(text, text)

    return draw


def _digits(rng: Random, length: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(length))


def _hex(rng: Random, length: int) -> str:
    return f"{rng.getrandbits(4 * length):0{length}x}"


def _url(rng: Random) -> str:
    path = rng.choice(_PATHS).format(n=rng.randint(2, 900), y=rng.randint(2022, 2026))
    return f"https://{rng.choice(_HOSTS)}{path}"


def _ip(rng: Random) -> str:
    """A public address of a documentation block (RFC 5737)."""
    return f"{rng.choice(('192.0.2', '198.51.100', '203.0.113'))}.{rng.randint(2, 250)}"


def _uuid(rng: Random) -> str:
    parts = _hex(rng, 8), _hex(rng, 4), "4" + _hex(rng, 3), rng.choice("89ab") + _hex(rng, 3), _hex(rng, 12)
    return "-".join(parts)


def _version(rng: Random) -> str:
    return rng.choice(("{}.{}.{}", "{}.{}.{}", "v{}.{}.{}", "{}.{}")).format(
        rng.randint(0, 9), rng.randint(0, 20), rng.randint(0, 15)
    )


def file_name(rng: Random) -> str:
    """A file with an ending: budget_2024.xlsx."""
    stems, endings = (words.split() for words in rng.choice(_FILES))
    version = rng.choice(("", "", f"_{rng.randint(2021, 2026)}", f"-v{rng.randint(2, 5)}", "_final"))
    return f"{rng.choice(stems)}{version}.{rng.choice(endings)}"


def _path(rng: Random) -> str:
    folder, inner = rng.choice(_FOLDERS), rng.choice(_SUBFOLDERS)
    inside = folder if folder == "Pictures" else f"{folder}/{inner}"
    return rng.choice((f"/home/data/{folder}", f"~/{folder}", f"/srv/{folder}", inside))


def _branch(rng: Random) -> str:
    return rng.choice(("main", "develop", f"feature/{rng.choice(_TOPICS)}", f"fix/{rng.choice(_TOPICS)}", "staging"))


def _flight(rng: Random) -> str:
    return f"{rng.choice(_CARRIERS)}{rng.randint(100, 9899)}"


def _train(rng: Random) -> str:
    return f"{rng.choice('GGGDDKZ')}{rng.randint(1, 7999)}"


def _isbn(rng: Random) -> str:
    """ISBN-13 with its check digit."""
    body = "978" + _digits(rng, 9)
    check = -sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(body)) % 10
    return f"{body}{check}"


def _coupon(rng: Random) -> str:
    return (
        f"{rng.choice(('SAVE', 'WELCOME', 'SPRING', 'VIP', 'SUMMER', 'THANKS'))}{rng.choice((5, 10, 15, 20, 25, 30))}"
    )


def _username(rng: Random) -> str:
    return f"{rng.choice(_ADJECTIVES)}_{rng.choice(_CREATURES)}{rng.choice(('', str(rng.randint(1, 99))))}"


def _plate(spec: Spec, context: Context) -> Value:
    rng = context.rng
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    if context.chinese:
        text = f"{rng.choice(_PROVINCES)}{rng.choice('ABCDE')}{_digits(rng, 3)}{rng.choice(letters)}{rng.randint(0, 9)}"
    else:
        text = f"{''.join(rng.choice(letters) for _ in range(3))}-{_digits(rng, 4)}"
    return carried(text, text)


def _code(spec: Spec, context: Context) -> Value:
    text = spec.get("pre", "") + _digits(context.rng, spec.get("len", 6))
    return carried(text, text)


def _ref(spec: Spec, context: Context) -> Value:
    text = context.issue(spec["kind"])
    return carried(text, text)


def _hex_colour(spec: Spec, context: Context) -> Value:
    arg, english, chinese = context.rng.choice(_COLOURS)
    return meant(arg, context.rng.choice((arg, chinese if context.chinese else english)))


def _currency(spec: Spec, context: Context) -> Value:
    code = context.rng.choice([c for c in CURRENCIES if c not in spec.get("not", ())])
    names = currency_names(code, context.language)
    return meant(code, context.rng.choice((*names, *names, code)))


def _language_code(spec: Spec, context: Context) -> Value:
    code = context.rng.choice(LANGUAGES)
    return meant(code, language_name(code, context.language))


def _country_code(spec: Spec, context: Context) -> Value:
    code = context.rng.choice(COUNTRIES)
    return meant(code, country_name(code, context.language))


def _text(make: Callable[[Random], str], **more: str) -> SlotType:
    return SlotType(_drawn(make), plain("string", **more))


TYPES: dict[str, SlotType] = {
    "ref": SlotType(_ref, plain("string")),
    "code": SlotType(_code, plain("string")),
    "url": _text(_url, format="uri"),
    "domain": _text(lambda rng: rng.choice(_HOSTS)),
    "ip": _text(_ip, format="ipv4"),
    "uuid": _text(_uuid, format="uuid"),
    "commit": _text(lambda rng: _hex(rng, 7)),
    "branch": _text(_branch),
    "version": _text(_version),
    "file": _text(file_name),
    "path": _text(_path),
    "flight": _text(_flight),
    "train": _text(_train),
    "isbn": _text(_isbn),
    "coupon": _text(_coupon),
    "username": _text(_username),
    "hashtag": _text(lambda rng: f"#{rng.choice(_TAGS)}"),
    "plate": SlotType(_plate, plain("string")),
    "hex_colour": SlotType(_hex_colour, plain("string")),
    "currency": SlotType(_currency, plain("string", enum=CURRENCIES), "ISO 4217 code"),
    "language_code": SlotType(_language_code, plain("string"), "ISO 639-1 code"),
    "country_code": SlotType(_country_code, plain("string"), "ISO 3166-1 alpha-2 code"),
}
