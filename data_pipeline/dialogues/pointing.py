"""How a request points at what a result holds: "the second one", "that city", 评分最高的那家."""

import re

from data_pipeline.catalogue import Param
from data_pipeline.dialogues.draft import Draft
from data_pipeline.dialogues.requests import ordinal

_THINGS = {
    **{"movie": "部电影", "show": "部剧", "song": "首歌", "artist": "位歌手", "book": "本书", "museum": "家博物馆"},
    **{"restaurant": "家餐厅", "hotel": "家酒店", "dish": "道菜", "product": "件商品", "car": "款车", "team": "支球队"},
    **{"job": "个职位", "city": "个城市", "hub": "个城市", "country": "个国家", "place": "个地方"},
    **{"subject": "门", "topic": "个主题"},
}
"""Pool → Chinese measure word and noun for a member of it; of a course, 课 already stands in the sentence."""
_NAME_OF = re.compile("(?:名称|姓名|名字)$")
_ROLES = ("place", "subject")
"""Pools whose parameters say more than the noun does: 终点, not 地方."""


def thing(param: Param) -> str:
    """What the parameter stands for in Chinese, with its measure word."""
    if param.kind == "ref":
        return "个"
    return _THINGS.get(str(param.spec.get("pool")), f"个{_NAME_OF.sub('', param.noun_zh)}")


def role_of(param: Param, draft: Draft) -> str:
    """What a request calls the parameter; in Chinese the thing itself where that says enough."""
    pool = str(param.spec.get("pool"))
    return thing(param)[1:] if draft.chinese and pool in _THINGS and pool not in _ROLES else draft.noun(param)


def that(param: Param, draft: Draft) -> str:
    """ "that city" """
    return f"那{thing(param)}" if draft.chinese else f"that {draft.noun(param)}"


def nth(param: Param, place: int, draft: Draft) -> str:
    """ "the second one"; `place` counts from 0."""
    return f"第{ordinal(place, draft)}{thing(param)}" if draft.chinese else f"the {ordinal(place, draft)} one"


def best_hit(param: Param, draft: Draft) -> str:
    """ "the best-rated one"; in Chinese without the noun."""
    english = ("the best-rated one", "the one with the best rating")
    return draft.either(english, (f"评分最高的那{thing(param)[0]}",))


def first_hit(param: Param, draft: Draft) -> str:
    """ "the first one"; in Chinese without the noun."""
    return draft.either(("the first one", "the first result", "the top result"), (f"搜到的第一{thing(param)[0]}",))
