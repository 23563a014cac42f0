"""Invented names: people, companies, contacts, addresses and titles. Mail addresses use reserved example domains."""

import random
from functools import lru_cache
from pathlib import Path

from data_pipeline.tables import read_table

_MAIL_HOSTS = ("example.com", "example.org", "example.net", "mail.example.com", "corp.example")

AIRPORTS = (
    ("JFK", "New York JFK", "纽约肯尼迪机场"),
    ("LAX", "Los Angeles", "洛杉矶机场"),
    ("SFO", "San Francisco", "旧金山机场"),
    ("ORD", "Chicago O'Hare", "芝加哥奥黑尔机场"),
    ("LHR", "London Heathrow", "伦敦希思罗机场"),
    ("CDG", "Paris Charles de Gaulle", "巴黎戴高乐机场"),
    ("FRA", "Frankfurt", "法兰克福机场"),
    ("AMS", "Amsterdam Schiphol", "阿姆斯特丹史基浦机场"),
    ("MAD", "Madrid Barajas", "马德里机场"),
    ("IST", "Istanbul Airport", "伊斯坦布尔机场"),
    ("DXB", "Dubai International", "迪拜机场"),
    ("SIN", "Singapore Changi", "新加坡樟宜机场"),
    ("HKG", "Hong Kong", "香港机场"),
    ("NRT", "Tokyo Narita", "东京成田机场"),
    ("HND", "Tokyo Haneda", "东京羽田机场"),
    ("ICN", "Seoul Incheon", "首尔仁川机场"),
    ("PEK", "Beijing Capital", "首都机场"),
    ("PKX", "Beijing Daxing", "大兴机场"),
    ("PVG", "Shanghai Pudong", "浦东机场"),
    ("SHA", "Shanghai Hongqiao", "虹桥机场"),
    ("CAN", "Guangzhou Baiyun", "白云机场"),
    ("SZX", "Shenzhen", "深圳宝安机场"),
    ("CTU", "Chengdu Shuangliu", "成都双流机场"),
    ("HGH", "Hangzhou", "杭州萧山机场"),
    ("SYD", "Sydney", "悉尼机场"),
)
"""IATA code, English and Chinese name."""


@lru_cache(maxsize=1)
def _names() -> dict[str, tuple[str, ...]]:
    table = read_table(Path(__file__).parent / "catalogue" / "names.yaml")
    return {key: tuple(text.split("; ")) for key, text in table.items()}


def _pick(rng: random.Random, kind: str) -> str:
    return rng.choice(_names()[kind])


def person(rng: random.Random, language: str) -> str:
    """A full name."""
    if language == "zh":
        return _family_zh(rng).partition("|")[0] + _pick(rng, "given_zh").partition("|")[0]
    return f"{_pick(rng, 'given_en')} {_pick(rng, 'family_en')}"


def company(rng: random.Random, language: str) -> str:
    """A company's name."""
    if language == "zh":
        return _pick(rng, "firm_zh") + _pick(rng, "firm_tail_zh")
    if rng.random() < 0.25:
        first, second = rng.sample(_names()["family_en"], 2)
        return f"{first} & {second}"
    return f"{_pick(rng, 'firm_en')} {_pick(rng, 'firm_tail_en')}"


def _family_zh(rng: random.Random) -> str:
    """The three commonest surnames are those of a fifth of the people."""
    surnames = _names()["surname_zh"]
    return rng.choice(surnames[:3] if rng.random() < 0.2 else surnames)


@lru_cache(maxsize=1)
def _spelling() -> dict[str, str]:
    """Chinese family and given names → their spelling."""
    return dict(entry.split("|") for kind in ("surname_zh", "given_zh") for entry in _names()[kind])


def email(rng: random.Random, language: str = "en", owner: str = "") -> str:
    """A mail address under a reserved domain, made of the owner's name where one is given."""
    owner = owner or person(rng, language)
    if owner.isascii():
        name, _, family = owner.lower().partition(" ")
    else:
        name, family = _spelling()[owner[1:]], _spelling()[owner[0]]
    layout = rng.choice(("{f}.{l}@{h}", "{f}.{l}@{h}", "{f}{n}@{h}", "{f}_{l}@{h}", "{l}.{f}{n}@{h}"))
    return layout.format(f=name, l=family, n=rng.randint(1, 99), h=rng.choice(_MAIL_HOSTS))


def phone(rng: random.Random, language: str) -> str:
    """A telephone number (555 range, or a Chinese mobile pattern)."""
    if language == "zh":
        return f"13{rng.randint(0, 9)}{rng.randint(10**7, 10**8 - 1)}"
    return rng.choice(("555-01{:02d}", "+1-202-555-01{:02d}", "(555) 555-01{:02d}")).format(rng.randint(0, 99))


def street_address(rng: random.Random, language: str) -> str:
    """Street and number."""
    if language == "zh":
        door = rng.choice(("", "", f"{rng.randint(1, 20)}栋{rng.randint(1, 25)}0{rng.randint(1, 4)}室"))
        return f"{_pick(rng, 'street_zh')}{rng.randint(1, 980)}号{door}"
    return f"{rng.randint(1, 980)} {_pick(rng, 'street_en')} {_pick(rng, 'street_tail_en')}"


def postcode(rng: random.Random, language: str) -> str:
    """A postal code: six digits in Chinese, five in English."""
    return f"{rng.randint(10, 83)}{rng.randint(0, 99):02d}00" if language == "zh" else f"{rng.randint(10001, 99899)}"


_LAYOUTS = {
    "movie": ("The {a} {n}", "{a} {n}", "{n} of the {m}"),
    "book": ("The {a} {n}", "{n} and {m}", "A {a} {n}"),
    "song": ("{a} {n}", "{n} in the {m}", "My {a} {n}"),
    "show": ("{a} {n}", "The {n} Files", "{n} & {m}"),
    "game": ("{n} {m}", "{a} {n} II", "{n} Quest"),
    "hotel": ("{a} {n} Hotel", "Hotel {n}", "The {n} Inn"),
    "restaurant": ("{a} {n}", "The {n} Kitchen", "{n} & {m}"),
}
_LAYOUTS_ZH = {
    "movie": ("{a}{n}", "{n}与{m}"),
    "book": ("{a}{n}", "{n}往事"),
    "song": ("{a}{n}", "{n}之歌"),
    "show": ("{a}{n}", "{n}风云"),
    "game": ("{n}传说", "{a}{n}"),
    "hotel": ("{n}大酒店", "{n}{m}酒店"),
    "restaurant": ("{n}小馆", "{n}饭店"),
}


@lru_cache(maxsize=1)
def _words() -> tuple[tuple[str, ...], ...]:
    return _names()["adjective_en"], _names()["noun_en"], _names()["adjective_zh"], _names()["noun_zh"]


def invented(pool: str, rng: random.Random, language: str) -> str | None:
    """A new name that could stand in `pool`, or None for pools of fixed members."""
    if pool in ("athlete", "artist"):
        return person(rng, language)
    if pool not in _LAYOUTS:
        return None
    english, nouns, chinese, nouns_zh = _words()
    words, things = (chinese, nouns_zh) if language == "zh" else (english, nouns)
    layout = rng.choice((_LAYOUTS_ZH if language == "zh" else _LAYOUTS)[pool])
    first, second = rng.sample(things, 2)
    return layout.format(a=rng.choice(words), n=first, m=second)
