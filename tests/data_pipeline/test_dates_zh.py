"""Chinese expressions for days against tables written from a paper calendar, and against jionlp."""

import contextlib
import io
import random
import sys
from datetime import date, datetime, timedelta
from types import ModuleType

import pytest

from data_pipeline.dates import FUTURE, PAST
from data_pipeline.normalisers import dates
from tests.data_pipeline.test_dates_en import cases

WEDNESDAY = """2026-03-04
今天 = 2026-03-04
明天 = 2026-03-05
后天 = 2026-03-06
大后天 = 2026-03-07
三天后 = 2026-03-07
10天之后 = 2026-03-14
再过五天 = 2026-03-09
一周后 = 2026-03-11
两周后 = 2026-03-18
三个星期之后 = 2026-03-25
两个礼拜后 = 2026-03-18
半个月后 = 2026-03-19
一个月后 = 2026-04-04
三个月之后 = 2026-06-04
半年后 = 2026-09-04
一年后 = 2027-03-04
明年的今天 = 2027-03-04
下周的今天 = 2026-03-11
两周后的今天 = 2026-03-18
下个月今天 = 2026-04-04
5个工作日后 = 2026-03-11
下个工作日 = 2026-03-05
这周五 = 2026-03-06
本周日 = 2026-03-08
这个星期天 = 2026-03-08
这礼拜六 = 2026-03-07
下周一 = 2026-03-09
下周五 = 2026-03-13
下个星期三 = 2026-03-11
下礼拜二 = 2026-03-10
下下周五 = 2026-03-20
周五 = 2026-03-06
星期天 = 2026-03-08
接下来的周一 = 2026-03-09
这周末的周六 = 2026-03-07
周末星期天 = 2026-03-08
下周末的周六 = 2026-03-14
两周后的周五 = 2026-03-20
本周最后一个工作日 = 2026-03-06
下周第一个工作日 = 2026-03-09
月底 = 2026-03-31
这个月最后一天 = 2026-03-31
下个月底 = 2026-04-30
下月初 = 2026-04-01
下个月第一天 = 2026-04-01
月中 = 2026-03-15
下个月中 = 2026-04-15
6月底 = 2026-06-30
二月底 = 2027-02-28
明年2月底 = 2027-02-28
下下个月底 = 2026-05-31
这个月20号 = 2026-03-20
20号 = 2026-03-20
2号 = 2026-04-02
下个月15号 = 2026-04-15
下月三号 = 2026-04-03
下下个月十号 = 2026-05-10
下个月第三个周五 = 2026-04-17
这个月最后一个周五 = 2026-03-27
9月的第一个周一 = 2026-09-07
11月第四个周四 = 2026-11-26
下个月第一个工作日 = 2026-04-01
5月最后一个工作日 = 2026-05-29
季度末 = 2026-03-31
下个季度末 = 2026-06-30
下季度第一天 = 2026-04-01
三季度末 = 2026-09-30
2027年第一季度最后一天 = 2027-03-31
年底 = 2026-12-31
明年年底 = 2027-12-31
明年第一天 = 2027-01-01
上半年最后一天 = 2026-06-30
元旦 = 2027-01-01
春节 = 2027-02-06
除夕 = 2027-02-05
大年初三 = 2027-02-08
元宵节 = 2027-02-20
清明节 = 2026-04-05
五一劳动节 = 2026-05-01
端午节 = 2026-06-19
七夕 = 2026-08-19
中秋节 = 2026-09-25
国庆节 = 2026-10-01
重阳节 = 2026-10-18
双十一 = 2026-11-11
冬至 = 2026-12-22
平安夜 = 2026-12-24
圣诞节 = 2026-12-25
母亲节 = 2026-05-10
感恩节 = 2026-11-26
明年中秋节 = 2027-09-15
2028年春节 = 2028-01-26
今年国庆 = 2026-10-01
立夏那天 = 2026-05-05
农历八月十五 = 2026-09-25
腊月二十三 = 2027-01-30
中秋节的前一天 = 2026-09-24
端午节前三天 = 2026-06-16
国庆节前一周 = 2026-09-24
圣诞节第二天 = 2026-12-26
元旦之后三天 = 2027-01-04
中秋节后第一个周一 = 2026-09-28
圣诞节前最后一个周五 = 2026-12-18
端午节那周的周三 = 2026-06-17
3月31号的第二天 = 2026-04-01
4月3号前十天 = 2026-03-24
6月12号之后的第一个周一 = 2026-06-15
下周五的前一天 = 2026-03-12
月底前三天 = 2026-03-28
3月20号 = 2026-03-20
3月4日 = 2026-03-04
3月3号 = 2027-03-03
十二月二十五号 = 2026-12-25
3月20日（周五） = 2026-03-20
17号周二 = 2026-03-17
2027年4月1日 = 2027-04-01
二〇二七年四月一日 = 2027-04-01
2027.04.01 = 2027-04-01
明年3月20号 = 2027-03-20
后年5月1号 = 2028-05-01
昨天 = 2026-03-03
前天 = 2026-03-02
大前天 = 2026-03-01
三天前 = 2026-03-01
两周前 = 2026-02-18
一个月前 = 2026-02-04
去年今天 = 2025-03-04
上周五 = 2026-02-27
上上周五 = 2026-02-20
刚过去的周一 = 2026-03-02
上个月12号 = 2026-02-12
上月底 = 2026-02-28
上个月第三个周五 = 2026-02-20
上季度末 = 2025-12-31
去年年底 = 2025-12-31
去年国庆 = 2025-10-01
去年3月3号 = 2025-03-03
今年第一天 = 2026-01-01
"""
EDGES = """2024-02-28
明天 = 2024-02-29
大后天 = 2024-03-02
月底 = 2024-02-29
2月29号 = 2024-02-29
#2024-02-29
明天 = 2024-03-01
下周五 = 2024-03-08
一个月后 = 2024-03-29
#2026-12-31
明天 = 2027-01-01
下周一 = 2027-01-04
元旦 = 2027-01-01
月底 = 2026-12-31
明年元旦 = 2027-01-01
1号 = 2027-01-01
#2024-03-03
下周五 = 2024-03-08
下周日 = 2024-03-10
明天 = 2024-03-04
#2026-03-02
这周日 = 2026-03-08
上周日 = 2026-03-01
下周一 = 2026-03-09
#2026-01-01
农历十一月十五 = 2026-01-03
除夕 = 2026-02-16
腊八节 = 2026-01-26
"""
OPEN = [
    ("周末", "2026-03-04", {"2026-03-07", "2026-03-08"}),
    ("下周日", "2026-03-04", {"2026-03-08", "2026-03-15"}),
    ("下个周五", "2026-03-04", {"2026-03-06", "2026-03-13"}),
    ("星期三", "2026-03-04", {"2026-03-04", "2026-03-11"}),
    ("八月十五", "2026-03-04", {"2026-08-15", "2026-09-25"}),
    ("国庆后第一个周一", "2026-03-04", {"2026-10-05", "2026-10-12"}),
    ("国庆后第一个周四", "2026-03-04", {"2026-10-08"}),
    ("下周", "2026-03-04", set()),
    ("下个月中旬", "2026-03-04", set()),
    ("过两三天", "2026-03-04", set()),
    ("4月31号", "2026-03-04", set()),
]
NO_DAYS = [
    "每周五",
    "一周一次",
    "这周一共要三个",
    "住三天两晚",
    "坐3号线到15号楼",
    "两个人，下午三点半",
    "一周五天都行",
    "我今年二十三岁",
]


@pytest.mark.parametrize(("words", "today", "day"), cases(WEDNESDAY) + cases(EDGES))
def test_an_expression_means_the_day_of_the_calendar(words, today, day):
    assert dates(words, today) == {day}
    assert dates(f"麻烦帮我订{words}的票，2个人，谢谢", today) == {day}


@pytest.mark.parametrize(("words", "today", "days"), OPEN)
def test_open_words_give_each_reading_and_vague_ones_none(words, today, days):
    assert dates(words, date.fromisoformat(today)) == days


@pytest.mark.parametrize("text", NO_DAYS)
def test_words_that_only_look_like_days_are_not_read(text):
    assert dates(text, date(2026, 3, 4)) == set()


@pytest.fixture(scope="module")
def oracle():
    """Reads one day with jionlp; None where it refuses or reads a span. Its dates need no word segmentation."""
    sys.modules.setdefault("jiojio", ModuleType("jiojio"))
    with contextlib.redirect_stdout(io.StringIO()):
        import jionlp

    def read(words: str, today: date) -> date | None:
        try:
            first, last = jionlp.parse_time(words, time_base=datetime(today.year, today.month, today.day, 10))["time"]
        except ValueError:
            return None
        return date.fromisoformat(first[:10]) if first[:10] == last[:10] else None

    return read


AGREED = (
    *(
        "今天",
        "明天",
        "后天",
        "大后天",
        "昨天",
        "前天",
        "大前天",
        "周几",
        "这周几",
        "下周几",
        "下下周几",
        "上周几",
        "上上周几",
    ),
    *(
        "几号",
        "本月几号",
        "下月几号",
        "下下个月几号",
        "上月几号",
        "全写",
        "今年几月几号",
        "明年几月几号",
        "明年几月几日",
    ),
    *("后年几月几号", "去年几月几号", "前年几月几号", "今年的节日", "明年的节日", "某年的节日"),
)
"""Families of which jionlp reads every single day rightly; of others it misses many, as 下个月第三个周五."""


@pytest.mark.parametrize("name", AGREED)
def test_jionlp_means_the_same_day(name, oracle):
    rng = random.Random(name)
    families = [(f, g) for g in (FUTURE["zh"], PAST["zh"]) for f in g.families if f.name == name]
    assert families
    named = 0
    for family, _ in families:
        for _ in range(30):
            today = date(2022, 1, 1) + timedelta(rng.randrange(2400))
            words, day = family.draw(today, rng) or (None, None)
            if words is not None and (read := oracle(words, today)) is not None:
                named += 1
                assert (words, today, read) == (words, today, day)
    assert named >= 10
