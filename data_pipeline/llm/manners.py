"""How users talk, so that a model does not let all of them talk alike."""

import json
import random
from collections.abc import Mapping

from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation

MANNERS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "in a hurry, a few words",
        "polite, one long sentence",
        "explains the reason first, then asks",
        "types on a phone, no capital letters",
        "blunt, no greeting",
        "thinks aloud",
        "chatty and cheerful",
        "precise, like a form",
        "unsure, hedges",
        "asks on behalf of someone else",
        "plain and businesslike",
        "a little annoyed",
    ),
    "zh": (
        "赶时间，只有几个字",
        "客气，一句长话",
        "先说原因再提要求",
        "手机打字，不加标点",
        "直截了当，不寒暄",
        "边想边说",
        "健谈，语气轻快",
        "说得很准确，像填表",
        "拿不准，语气犹豫",
        "替别人问",
        "平实，公事公办",
        "有点不耐烦",
    ),
}


def manner_of(plan: Conversation) -> str:
    """A manner for the user of `plan`, the same whenever it is asked for."""
    said = json.dumps([message.content for message in plan.messages])
    rng = random.Random(derive_seed(0, "manner", plan.id, said))
    return rng.choice(MANNERS["zh" if plan.language == "zh" else "en"])
