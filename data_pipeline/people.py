"""Names, companies and contacts of invented people. Mail addresses use reserved example domains."""

import random
from functools import lru_cache

from mimesis import Finance, Locale, Person

_SURNAMES_ZH = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗梁宋郑谢韩唐冯于董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛叶阎余潘杜戴夏钟汪田任姜"
_GIVEN_ZH = (
    "伟 芳 娜 敏 静 丽 强 磊 军 洋 勇 艳 杰 涛 明 超 霞 平 刚 桂英 子轩 雨桐 思远 嘉怡 浩然 欣怡 梓涵 一诺 俊杰 晓燕 建国 "
    "志强 文静 海燕 晓明 丽华 天宇 雪梅 佳琪 子墨 若曦 宇航 诗涵 博文 家豪 美玲 国栋 婉婷 振华 雅琴"
).split()
_COMPANY_ZH = "华信 远景 蓝海 星河 瑞丰 鼎新 天启 云帆 博纳 金石 绿洲 东方嘉业 海纳 恒达 中科创远 宏图 晨光 汇通 新元 百川".split()
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
