"""Invented names: people, companies, contacts, places and titles. Mail addresses use reserved example domains."""

import random
from functools import lru_cache

from mimesis import Address, Finance, Locale, Person

_SURNAMES_ZH = (
    "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许"
    "傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
)
_GIVEN_ZH = [
    "伟",
    "芳",
    "娜",
    "敏",
    "静",
    "丽",
    "强",
    "磊",
    "军",
    "洋",
    "勇",
    "艳",
    "杰",
    "涛",
    "明",
    "超",
    "霞",
    "平",
    "刚",
    "桂英",
    "子轩",
    "雨桐",
    "思远",
    "嘉怡",
    "浩然",
    "欣怡",
    "梓涵",
    "一诺",
    "俊杰",
    "晓燕",
    "建国",
    "志强",
    "文静",
    "海燕",
    "晓明",
    "丽华",
    "天宇",
    "雪梅",
    "佳琪",
    "子墨",
    "若曦",
    "宇航",
    "诗涵",
    "博文",
    "家豪",
    "美玲",
    "国栋",
    "婉婷",
    "振华",
    "雅琴",
]
_COMPANY_ZH = [
    "华信",
    "远景",
    "蓝海",
    "星河",
    "瑞丰",
    "鼎新",
    "天启",
    "云帆",
    "博纳",
    "金石",
    "绿洲",
    "东方嘉业",
    "海纳",
    "恒达",
    "中科创远",
    "宏图",
    "晨光",
    "汇通",
    "新元",
    "百川",
]
_COMPANY_TAIL_ZH = ("科技", "贸易有限公司", "集团", "物流", "网络", "食品")
_MAIL_HOSTS = ("example.com", "example.org", "example.net", "mail.example.com", "corp.example")


@lru_cache(maxsize=1)
def _english() -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    generator, finance = Person(Locale.EN, seed=11), Finance(Locale.EN, seed=11)
    first = sorted({generator.first_name() for _ in range(500)})
    last = sorted({generator.last_name() for _ in range(600)})
    firms = sorted({finance.company() for _ in range(300)})
    plain = [tuple(word for word in words if word.isascii()) for words in (first, last, firms)]
    return plain[0], plain[1], plain[2]


def person(rng: random.Random, language: str) -> str:
    """A full name."""
    if language == "zh":
        return rng.choice(_SURNAMES_ZH) + rng.choice(_GIVEN_ZH)
    first, last, _ = _english()
    return f"{rng.choice(first)} {rng.choice(last)}"


def company(rng: random.Random, language: str) -> str:
    """A company's name."""
    if language == "zh":
        return rng.choice(_COMPANY_ZH) + rng.choice(_COMPANY_TAIL_ZH)
    return rng.choice(_english()[2])


def email(rng: random.Random) -> str:
    """A mail address under a reserved domain."""
    first, last, _ = _english()
    name, family = rng.choice(first).lower(), rng.choice(last).lower().replace("'", "").replace(" ", "")
    layout = rng.choice(("{f}.{l}@{h}", "{f}{n}@{h}", "{f}_{l}@{h}", "{l}.{f}{n}@{h}"))
    return layout.format(f=name, l=family, n=rng.randint(1, 99), h=rng.choice(_MAIL_HOSTS))


def phone(rng: random.Random, language: str) -> str:
    """A telephone number (555 range, or a Chinese mobile pattern)."""
    if language == "zh":
        return f"13{rng.randint(0, 9)}{rng.randint(10**7, 10**8 - 1)}"
    return rng.choice(("555-01{:02d}", "+1-202-555-01{:02d}", "(555) 555-01{:02d}")).format(rng.randint(0, 99))


_ADJECTIVES = (
    "Silent Golden Hidden Broken Crimson Distant Endless Frozen Gentle Hollow Iron Jade Lonely Lucky Midnight Northern "
    "Pale Quiet Rusty Scarlet Secret Silver Stolen Velvet Wandering Wild Winter Young"
)
_NOUNS = (
    "Anchor Autumn Bridge Candle Castle Compass Dragon Echo Ember Falcon Forest Garden Harvest Island Kingdom Lantern "
    "Maple Meadow Mirror Moon Ocean Orchid Phoenix Raven River Shadow Star Storm Summit Tiger Tower Valley Willow Wolf"
)
_ADJECTIVES_ZH = (
    "寂静的 金色的 隐秘的 遥远的 冰封的 孤独的 午夜 银色 北方的 流浪的 红色 失落的 温柔的 漫长的 年轻的 神秘的"
)
_NOUNS_ZH = "灯塔 森林 花园 王国 月亮 海岸 河流 城堡 影子 山谷 星空 风暴 枫叶 海岛 镜子 老虎 凤凰 麦田 小镇 铁桥"
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


@lru_cache(maxsize=2)
def _cities(language: str) -> tuple[str, ...]:
    generator = Address(Locale.ZH if language == "zh" else Locale.EN, seed=11)
    return tuple(sorted({generator.city().strip().removesuffix("市") for _ in range(800)}))


@lru_cache(maxsize=1)
def _words() -> tuple[list[str], list[str], list[str], list[str]]:
    return _ADJECTIVES.split(), _NOUNS.split(), _ADJECTIVES_ZH.split(), _NOUNS_ZH.split()


def invented(pool: str, rng: random.Random, language: str) -> str | None:
    """A new name that could stand in `pool`, or None for pools of fixed members."""
    if pool == "city":
        return rng.choice(_cities(language))
    if pool in ("athlete", "artist"):
        return person(rng, language)
    if pool not in _LAYOUTS:
        return None
    english, nouns, chinese, nouns_zh = _words()
    words, things = (chinese, nouns_zh) if language == "zh" else (english, nouns)
    layout = rng.choice((_LAYOUTS_ZH if language == "zh" else _LAYOUTS)[pool])
    first, second = rng.sample(things, 2)
    return layout.format(a=rng.choice(words), n=first, m=second)
