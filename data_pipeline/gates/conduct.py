"""Conduct: no loops, no foreign identity, nobody's personal data."""

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from operator import eq

from data_pipeline.gates.reading import Reading, fold, is_error
from fcdist.schema.json_text import canonical_json

_VENDORS = (
    r"openai|anthropic|google|deepmind|meta(?: ai)?|microsoft|alibaba|baidu|tencent|mistral(?: ai)?|deepseek|moonshot|"
    r"zhipu|xai|cohere|阿里(?:巴巴|云)?|百度|腾讯|字节(?:跳动)?|深度求索|月之暗面|智谱|谷歌|微软|科大讯飞|商汤"
)
_MODELS = (
    r"chat ?gpt|gpt-?[34]\w*|claude|gemini|bard|copilot|llama|qwen|mistral|deepseek|kimi|grok|ernie|"
    r"文心一言|通义千问|千问|讯飞星火|智谱清言|豆包|混元|盘古"
)
_CLAIMS = (
    (("i am", "i'm", "my name is", "you are", "call me"), rf" (?:{_MODELS})\b"),
    (("made", "built", "trained", "developed", "created", "designed"), rf" by (?:{_VENDORS})\b"),
    (
        ("i am", "i'm", "you are"),
        r" an? (?:large )?(?:ai )?(?:language )?model (?:made|built|trained|developed|from|by)",
    ),
    (("as a", "as an"), r" (?:ai(?: language)?|large language|language) model\b"),
    (("as an ai",), r"(?: assistant)?,"),
    (("我", "你"), rf"(?:是|叫)(?:{_MODELS})"),
    (("由",), rf"(?:{_VENDORS})\s*(?:公司)?(?:开发|训练|研发|创造|打造)"),
    (("作为",), r"(?:一[个名款])?(?:大型)?(?:ai|人工智能|语言)(?:语言)?(?:模型|助手)"),
)
# Every branch begins with a letter, not with a group of them, so that the engine can skip to these letters.
_IDENTITY = re.compile("|".join(opening + rest for openings, rest in _CLAIMS for opening in openings))
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]+@((?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,})")
_EXAMPLE_DOMAIN = re.compile(r"(?:^|\.)(?:example\.(?:com|org|net)|[a-z0-9-]+\.(?:example|test|invalid|localhost))$")
_PHONE = re.compile(  # ASCII: numbers stand right beside ideographs
    r"(?<![\w.-])(?:\+\d{1,3}[\s-]?)?(?:\(\d{3}\)\s?|\d{3}[\s-])\d{3}[\s-]\d{4}(?![\w-])|(?<![\w.-])\+\d{10,14}(?!\d)|"
    r"(?<![\w.-])(?:\+?86[\s-]?)?1[3-9]\d{9}(?!\d)|(?<![\w.-])0\d{2,3}-\d{7,8}(?!\d)",
    re.ASCII,
)
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){14,18}\d(?![\w.])", re.ASCII)
_CARD_ISSUER = re.compile(r"4\d{15}|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}|62\d{14,17}")
_TEST_CARDS = re.compile(
    r"4111111111111111|4242424242424242|4000\d{12}|5555555555554444|378282246310005|4012888888881881"
)
_NATIONAL_ID = re.compile(
    r"(?<![\w.-])[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\w)", re.ASCII
)
_SOCIAL_SECURITY = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])", re.ASCII)
_CHECK_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_WORDS = re.compile(r"[a-z0-9]+")
_UNITS = re.compile(r"[^\W_\u3400-\u9fff]+|[\u3400-\u9fff]")
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){8}")
_SHORTEST_STUTTER = 12
_LONG_TURN = 60
"""Shortest user turn, in half-width characters, that nobody says twice; "yes, please" and "what is near it?" are."""
_LONG_EXCHANGE = 25
"""The same of a turn together with its reply."""


def loops(reading: Reading) -> str | None:
    """Nothing goes round in circles: no turn, exchange or call comes again, no words three times in a row."""
    messages = reading.messages
    if len(reading.users) > 1:
        spoken = [(m.role, fold(m.content or "")) for m in messages if m.role in ("user", "assistant")]
        if _repeats(text for role, text in spoken if role == "user" and _width(text) >= _LONG_TURN):
            return "repeated_user_turn"
        exchanges = ((a, b) for a, b in pairwise(spoken) if a[1] and b[1] and _width(a[1] + b[1]) >= _LONG_EXCHANGE)
        if _repeats(exchanges):
            return "repeated_exchange"
    if _repeats(_requests(reading)):
        return "repeated_call"
    told = [text for m in messages if m.role == "assistant" for text in (m.content, m.thought) if text]
    return "repeated_words" if any(map(_stutters, told)) else None


def _requests(reading: Reading) -> Iterator[tuple[int, str, str, str]]:
    """Calls of a tool that serves a user turn more than once, by the turn.

    One that failed may be tried again, and so may one whose result changed.
    """
    if len(reading.calls) < 2:
        return
    turns = list(accumulate(message.role == "user" for message in reading.messages))
    served = [(turns[call.turn], call.name) for call in reading.calls]
    for call, place in zip(reading.calls, served, strict=True):
        if served.count(place) > 1 and not is_error(call.result):
            yield *place, canonical_json(call.arguments), canonical_json(call.result)


def _repeats(items: Iterator[object]) -> bool:
    seen = list(items)
    return len(set(seen)) < len(seen)


def _width(text: str) -> int:
    return len(text) if text.isascii() else 2 * len(text) - len(text.encode("ascii", "ignore"))


def _stutters(text: str) -> bool:
    """Whether three or more words, or four or more ideographs, come three times in a row."""
    if len(text) < _SHORTEST_STUTTER * (3 if text.isascii() else 1):
        return False
    words = (_WORDS if text.isascii() else _UNITS).findall(text.lower())
    if len(words) < 9 or len(set(words)) > len(words) - 6:
        return False  # three times three words are at least six words that were there before
    if len({*zip(words, words[1:], words[2:], strict=False)}) > len(words) - 8:
        return False  # fewer than six of its trigrams repeat
    for size in range(3, min(12, len(words) // 3) + 1):
        same = bytes(map(eq, words, words[size:]))  # 1 where a word comes again after `size` words
        start = same.find(b"\1" * 2 * size)
        while start >= 0:
            if any([word.isalpha() for word in words[start : start + size]]):
                return True
            start = same.find(b"\1" * 2 * size, start + 1)
    return False


def identity(reading: Reading) -> str | None:
    """The assistant is nobody's product but the user's own: no name of a model or vendor, no "as an AI model"."""
    own = (m for m in reading.messages if m.role in ("assistant", "system"))
    text = "\n".join(f"{message.content or ''}\n{message.thought or ''}" for message in own).lower().replace("’", "'")
    return "claims_other_identity" if _IDENTITY.search(text) else None


def personal_data(reading: Reading) -> str | None:
    """The assistant invents no way to reach a person, and nobody gives a number that could be somebody's card or id."""
    texts = [
        " ".join([m.content or "", *[call.arguments for call in m.tool_calls]]) if m.tool_calls else m.content or ""
        for m in reading.messages
    ]
    everything = "\n".join([*texts, *[m.thought for m in reading.messages if m.thought]])
    if "@" not in everything and not _LONG_NUMBER.search(everything):
        return None
    for place, message in enumerate(reading.messages):
        if message.role == "assistant":
            own = f"{texts[place]} {message.thought or ''}"
            if ("@" in own or _LONG_NUMBER.search(own)) and (reason := _invented_contact(own, texts[:place], reading)):
                return reason
    return _real_number("\n".join(texts))


def _invented_contact(text: str, before: Sequence[str], reading: Reading) -> str | None:
    given = "\n".join(before)
    quantities = {str(v) for call in reading.calls for v in call.leaves.values() if isinstance(v, int | float)}
    for match in _EMAIL.finditer(text):
        if not _EXAMPLE_DOMAIN.search(match[1].lower()) and match[0].lower() not in given.lower():
            return "invented_email"
    digits = None
    for match in _PHONE.finditer(text):
        digits = re.sub(r"\D", "", given) if digits is None else digits
        number = re.sub(r"\D", "", match[0])
        if number not in quantities and number not in digits and number[-10:] not in digits:
            return "invented_phone"
    return None


def _real_number(text: str) -> str | None:
    for match in _CARD.finditer(text):
        number = re.sub(r"\D", "", match[0])
        if _CARD_ISSUER.fullmatch(number) and not _TEST_CARDS.fullmatch(number) and _passes_luhn(number):
            return "card_number"
    for match in _NATIONAL_ID.finditer(text):
        total = sum(weight * int(digit) for weight, digit in zip(_CHECK_WEIGHTS, match[0], strict=False))
        if "10X98765432"[total % 11] == match[0][-1].upper():
            return "national_id"
    return "social_security_number" if _SOCIAL_SECURITY.search(text) else None


def _passes_luhn(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return sum(d if i % 2 == 0 else sum(divmod(2 * d, 10)) for i, d in enumerate(digits)) % 10 == 0
