"""What a tool does, in words: from its description, else from its name; in English and Chinese."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from data_pipeline.importers.arithmetic import Operation, operation_of
from data_pipeline.importers.lexicon import is_chinese, is_english, lexicon, noun_en, translate
from data_pipeline.importers.raw import RawTool, RefusedError, words_of

_MAX_WORDS = 12
"""Longest imperative taken from a description, in words."""
_MAX_CHINESE = 22
_MAX_THINGS = 4
"""Words of a name that a request repeats, from the end."""
_OPENING = re.compile(
    r"^(?:this (?:tool|function|endpoint|api|method|command) (?:is used to |is used for |can be used to |allows you to "
    r"|lets you |will |helps to |helps )?|(?:a |the )?(?:tool|function|api|endpoint|utility) (?:to |that |for |which )"
    r"|use(?:d)? (?:this )?(?:tool |function )?(?:to |for )|allows? (?:you |users? )?to |lets? you |enables? you to "
    r"|helps? (?:you )?(?:to )?|easily |quickly |efficiently |please |to )",
    re.I,
)
_CUT = re.compile(
    r"\s*(?:[\n(;:\[—–]|\.\s|\.$| - |, (?:including|which|with|such as|e\.g|and returns?|where|optionally|or |allowing)"
    r"|\s(?:including|which|such as|e\.g\.|so that|based on|with optional|with support|and returns?|and provides?"
    r"|as well as|if |when |once |where |unless |whether )|\s(?:using|via|through|powered by) (?!the user))",
    re.I,
)
_PREPOSITIONS = "for|of|in|at|by|from|to|on|about|with|near|into|between|using|within|under|against"
_DETERMINERS = (
    r"(?:(?:a|an|the|its|their|this|that|one|some|any|each|given|specific|specified|particular|single|certain"
    r"|provided|your|my|or more|user|requested|desired|target)\s+)*"
)
_TAIL_NOUNS = r"(?:\s+(?:id|ids|name|names|symbol|address|url|uuid|identifier|number|code|query|string|key|path))?"
_SWAPS: Mapping[str, tuple[str, ...]] = {
    "get": ("get", "show me", "find", "look up", "pull up", "give me", "fetch"),
    "fetch": ("fetch", "get", "show me", "find", "pull up"),
    "retrieve": ("retrieve", "get", "show me", "find", "pull up"),
    "list": ("list", "show me", "give me", "get"),
    "search for": ("search for", "find", "look for"),
    "find": ("find", "look for", "search for", "find me"),
    "create": ("create", "make", "set up"),
    "delete": ("delete", "remove"),
    "remove": ("remove", "delete"),
    "update": ("update", "change", "edit"),
    "calculate": ("calculate", "work out", "compute", "figure out"),
    "compute": ("compute", "calculate", "work out"),
    "check": ("check", "find out", "look up"),
    "show": ("show me", "get", "pull up"),
    "generate": ("generate", "make", "create"),
    "convert": ("convert", "turn"),
    "cancel": ("cancel", "call off"),
    "execute": ("execute", "run"),
    "run": ("run", "execute"),
    "send": ("send",),
}
_SPOKEN = {"return": "get", "provide": "get", "give": "get", "obtain": "get", "perform": "run"}
"""Verbs of descriptions that a user would not say."""
_ASKED = ("get", "fetch", "retrieve", "check", "show", "find")
"""Verbs whose object can also be asked for: get the price → what is the price?"""
_LOOKED_UP = ("info", "information", "data", "list", "news", "history", "details", "summary", "report", "schedule")
_VAGUE = ("content", "metadata", "values", "value", "summary", "overview", "item", "items", "one", "complete", "list")
_ACTS_ZH = (
    "显示",
    "连接",
    "断开",
    "提供",
    "返回",
    "读取",
    "抓取",
    "统计",
    "识别",
    "解析",
    "输入",
    "新建",
    "修改",
    "生成",
    "下载",
)
_ARTICLE = re.compile(r"^(?:for )?(?:(?:the|a|an|your|my|all) )?(?:number of )?", re.I)
_NOT_VERBS = frozenset(
    ("for", "from", "with", "when", "what", "which", "where", "how", "and", "under", "given", "once")
)
_OPENED = frozenset(("ticket", "tickets", "issue", "case", "account", "request"))
"""Things that are new when they are opened."""
DONE_TO = ("退款", "扣款", "点赞", "投票", "续期", "改期", "评价", "出价")
"""Chinese verbs that carry their object already: 给订单退款, not 退款订单."""
_PLAIN_VERBS = ("get", "search", "list", "find", "fetch", "create", "update", "delete", "run", "execute")
_JOINTS = ("by", "for", "from", "with", "in", "of", "to", "and", "at", "on", "as")
_QUALITIES = frozenset(
    re.findall(
        r"\w+",
        "current latest recent advanced all new top best full detailed optimized details detail info information data "
        "list stats status summary metadata general",
    )
)
"""Words that name no thing by themselves."""
_UNIVERSAL = frozenset(
    re.findall(
        r"\w+",
        "web internet online anything code command shell sql query prompt browser page url request http llm ai script "
        "python javascript question",
    )
)
"""Subjects of tools that can serve nearly any request, so that none is a negative beside them."""
_EMPTY = frozenset(
    re.findall(
        r"\w+",
        "a an the of for to in on at by from with and or all current given specific information info details detail "
        "data "
        "list get find search tool tools mcp api user me my your new based using available result results server id "
        "create add make update set delete remove fetch retrieve show look up check calculate compute multiple single",
    )
)


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a tool does, in words."""

    act: str
    """Archetype of the verb."""
    heads_en: tuple[str, ...]
    """Imperatives, some with `{key}` where a parameter's value goes."""
    heads_zh: tuple[str, ...]
    subject: frozenset[str]
    """Content words, for telling which tools could serve one another's requests."""
    verb_zh: str
    thing_en: str
    thing_zh: str
    whole_zh: bool
    """The Chinese imperative is the description's own sentence, not verb and thing."""
    server_only: bool
    """The name tells of no thing but the server."""
    operation: Operation | None = None
    """What it computes, where that is known."""


def things_of(raw: RawTool) -> list[str]:
    """Words of the name without verb, server, digits and what follows a preposition: what the tool is about."""
    forms = lexicon()["forms"]
    words = [stripped for word in words_of(raw.name) if (stripped := re.sub(r"\d+", "", word))]
    server = server_words(raw)
    for number, word in enumerate(words[:3]):
        if word in forms and len(words) > number + 1:
            words = words[number + 1 :] if number == 0 or words[0] in server else words[:number] + words[number + 1 :]
            break
    cut = next((i for i, word in enumerate(words) if word in _JOINTS), None)
    words = words[:cut]
    first = 0
    while first < len(words) - 1 and words[first] in server and _names_a_thing(words[first + 1 :]):
        first += 1
    return words[first:] or ["item"]


def _names_a_thing(words: Sequence[str]) -> bool:
    return any(word not in _QUALITIES and word not in lexicon()["forms"] for word in words)


def purpose(raw: RawTool, things: Sequence[str], params: Mapping[str, tuple[str, bool]], numbers: int = 0) -> Purpose:
    """Words for what a tool does.

    Args:
        raw: the tool.
        things: what it is about (`things_of`).
        params: key (letters, digits, `_`) → (public name, whether its value may stand inside the sentence).
        numbers: how many numbers it takes, where it takes nothing else.

    Raises:
        RefusedError: neither its description nor its name begins with a verb or names a thing.
    """
    verb, rest = _from_description(raw.description) or _from_name(raw)
    words = words_of(raw.name)
    name_verb = next((lexicon()["forms"][w] for w in words[:3] if w in lexicon()["forms"]), None)
    table = lexicon()
    act, verb_zh = table["verbs"].get(verb, ("control", ""))
    if verb == "open" and set(things) & _OPENED:
        act, verb_zh = "create", "提交"
    plain, inline = _slots(rest, params)
    if all(word in _EMPTY or word in _VAGUE for word in words_of(plain)):
        plain = "the " + " ".join(noun_en(word) for word in things)
        inline = inline if "{" in inline else plain
    heads = _swapped(verb, plain) + (_swapped(verb, inline) if inline != plain else [])
    subject = frozenset(_stem(w) for w in [*things, *words_of(plain)] if w not in _EMPTY and len(w) > 2)
    verb_zh = verb_zh or table["verbs"].get(name_verb, ("", ""))[1] or f"{verb} "
    spoken = _spoken(things, [v for v in (verb, name_verb) if v], plain)
    thing_zh = translate(spoken)
    own_words = _own_chinese(raw.description)
    if own_words:
        thing_zh = _without_verb(own_words)
    operation = operation_of(words, numbers) if numbers else None
    head_zh = own_words or (operation.goal_zh if operation else _joined_zh(verb_zh, thing_zh))
    return Purpose(
        act="compute" if operation else _act(raw, act),
        heads_en=tuple(dict.fromkeys(heads)),
        heads_zh=(head_zh,),
        subject=subject,
        verb_zh=verb_zh,
        thing_en=" ".join(map(noun_en, spoken)) or "result",
        thing_zh=thing_zh,
        whole_zh=bool(own_words),
        server_only=set(things) <= server_words(raw),
        operation=operation,
    )


def _spoken(things: Sequence[str], verbs: Sequence[str], described: str) -> list[str]:
    """Words for the thing: of the name, without its verbs; else of the description's object, where that is short."""
    forms = lexicon()["forms"]
    told = [word for word in things if forms.get(word) not in verbs and word not in (*verbs, "item", "a", "b")]
    while len(told) > 1 and forms.get(told[0]) in _PLAIN_VERBS:
        told = told[1:]
    if told and not set(told) <= _QUALITIES:
        return told[-_MAX_THINGS:]
    main = re.split(rf"\s(?:{_PREPOSITIONS}|and|or)\s", _ARTICLE.sub("", described))[0]
    words = [word for word in re.findall(r"[A-Za-z]+", main) if word.lower() not in ("new", "given", "specific")]
    return [word.lower() for word in words] if 0 < len(words) <= _MAX_THINGS else told


def server_words(raw: RawTool) -> set[str]:
    """Words of the server's name."""
    return {*words_of(raw.group), *re.findall(r"\w+", raw.group.lower())}


def universal(subject: frozenset[str]) -> bool:
    """Whether a tool about `subject` could serve nearly any request."""
    return not subject or bool(subject & _UNIVERSAL)


def _stem(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _act(raw: RawTool, act: str) -> str:
    by_method = {"delete": "cancel", "put": "update", "patch": "update"}
    if raw.hints.get("method") in by_method:
        return by_method[raw.hints["method"]]
    return act


def _from_description(description: str) -> tuple[str, str] | None:
    """(verb, object) of the first sentence, if it is an English imperative or third person."""
    text = re.sub(r"[*`#\"]|^[^\w]+", "", description.strip()).strip()
    first = text.split("\n")[0]
    if not first or not is_english(first):
        return None
    for _ in range(2):
        first = _OPENING.sub("", first, count=1)
    words = first.split()
    if len(words) < 2:
        return None
    verb = lexicon()["forms"].get(words[0].lower().rstrip(",")) or _unknown_verb(words)
    if verb is None or words[1].lower() in ("and", "or", "/", "&", "to", "is", "are", "tool"):
        return None
    rest = _CUT.split(" ".join(words[1:]), maxsplit=1)[0].strip(" .,!-")
    rest = re.sub(r"\bthe (?:current )?user's\b", "my", rest)
    rest = re.sub(r"\bthe user\b(?![-\w])", "me", rest)
    rest = re.sub(r"^back |^up ", "", rest)
    rest = re.split(r", [a-z]+ing\b", rest)[0]
    for joint in re.finditer(r",? and (\w+)", rest):
        if joint[1].lower() in lexicon()["forms"] and joint.start() > 0:
            rest = rest[: joint.start()]
            break
    parts = rest.split()
    while len(parts) > _MAX_WORDS:
        cut = max((i for i, w in enumerate(parts) if i > 1 and w in _PREPOSITIONS.split("|")), default=0)
        if not cut:
            return None
        parts = parts[:cut]
    while parts and parts[-1].lower() in (*_PREPOSITIONS.split("|"), "and", "or", "the", "a", "an", "its"):
        parts = parts[:-1]
    if not parts or re.search(r"[{}<>|=]|https?:", " ".join(parts)):
        return None
    return _SPOKEN.get(verb, verb), " ".join(parts)


def _unknown_verb(words: Sequence[str]) -> str | None:
    """A first word that the lexicon does not know, where an article after it shows that it is a verb."""
    if words[1].lower() not in ("a", "an", "the", "all", "your") or not re.fullmatch("[A-Z]?[a-z]{3,}", words[0]):
        return None
    word = words[0].lower()
    if word.endswith(("ing", "ed", "tion", "ly", "er")) or word in _NOT_VERBS:
        return None
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def _from_name(raw: RawTool) -> tuple[str, str]:
    words = words_of(raw.name)
    if not words or not all(word.isascii() for word in words):
        raise RefusedError("purpose_unclear", "neither name nor description says in English or Chinese what it does")
    forms = lexicon()["forms"]
    position = next((i for i, word in enumerate(words) if word in forms and (i == 0 or i + 1 < len(words))), None)
    if position is not None and position <= 2 and len(words) > position + 1:
        things = [noun_en(word) for word in words[position + 1 :]]
        return forms[words[position]], ("the " if forms[words[position]] in _ASKED else "") + " ".join(things)
    if len(words) < 2:
        raise RefusedError(
            "purpose_unclear",
            "its description does not begin with a verb and its name is one word; begin the description with what it "
            "does, for example 'Get the weather of a city.'",
        )
    if not (words[-1] in _LOOKED_UP or words[-1] in lexicon()["facts"] or words[-1].endswith("s")):
        raise RefusedError(
            "purpose_unclear",
            "neither its description nor its name begins with a verb; begin the description with one",
        )
    return "get", "the " + " ".join(noun_en(word) for word in words)


def _slots(rest: str, params: Mapping[str, tuple[str, bool]]) -> tuple[str, str]:
    """The object without mentions of parameters, and with them replaced by slots."""
    plain = inline = rest
    for key, (name, speakable) in params.items():
        words = words_of(name)
        nouns = {" ".join(words), name, noun_en(name)} | ({words[-1]} if words[-1] not in ("type", "of") else set())
        if words[-1] in ("id", "name", "symbol", "number", "code", "url") and len(words) > 1:
            nouns |= {" ".join(words[:-1]), words[-2]}
        nouns |= {noun + "s" for noun in nouns if not noun.endswith("s")}
        pattern = re.compile(
            rf"\s(?P<by>{_PREPOSITIONS})\s+{_DETERMINERS}(?:{'|'.join(sorted(map(re.escape, nouns), key=len)[::-1])})"
            rf"{_TAIL_NOUNS}(?=$|\s(?:{_PREPOSITIONS})\b)",
            re.I,
        )
        if found := pattern.search(inline):
            replacement = f" {found['by']} {{{key}}}" if speakable and found["by"].lower() not in ("by", "with") else ""
            inline = inline[: found.start()] + replacement + inline[found.end() :]
        plain = pattern.sub("", plain)
    generic = (
        rf"\s(?:{_PREPOSITIONS})\s+(?:a|an|the|one)?\s*(?:given|specific|specified|particular|certain|provided)\s.*$"
    )
    plain = re.sub(generic, "", plain, flags=re.I).strip()
    if "{" not in inline:
        inline = plain
    return (plain, inline.strip()) if len(plain.split()) > 0 else (rest, rest)


def _swapped(verb: str, rest: str) -> list[str]:
    key = "search for" if verb == "search" and rest.startswith("for ") else verb
    if verb == "search" and rest.startswith("for "):
        rest = rest[4:]
    rest = re.sub(r"^me (?=a |the )", "", rest)
    rest = re.sub(r"^(?:detailed|comprehensive) (?=information)", "", rest)
    first = rest.split(" ")[0]
    if first[:1].isupper() and first[1:].islower() and first.lower() in ("the", "a", "an", "all", "your"):
        rest = rest[0].lower() + rest[1:]
    heads = [f"{swap} {rest}".strip() for swap in _SWAPS.get(key, (key,))]
    if verb in _ASKED and rest.startswith("the ") and not re.search(r"\band\b|information|details", rest):
        main = re.split(rf"\s(?:{_PREPOSITIONS})\s", rest, maxsplit=1)[0]
        plural = main.endswith("s") and not main.endswith(("ss", "us", "is", "news"))
        heads += [f"what {'are' if plural else 'is'} {rest}?"]
    return heads


def _own_chinese(description: str) -> str:
    """The imperative with which a Chinese description begins; empty: there is none."""
    if not is_chinese(description):
        return ""
    head = re.split(r"[，。,:：；;（(\n！]|\s-\s", description.strip())[0].strip()
    head = re.sub(r"^(?:这个工具|该工具|此工具|本工具)?(?:用于|用来|可以|能够|支持)?", "", head)
    head = re.sub(r"(?:指定|给定)的?", "", head)
    acts = tuple({zh for _, zh in lexicon()["verbs"].values()} | set(_ACTS_ZH))
    plain = 2 < len(head) <= _MAX_CHINESE and not re.search(r"[{}\[\]<>|]", head)
    return head if plain and head.startswith(acts) else ""


def _without_verb(head: str) -> str:
    verbs = sorted({zh for _, zh in lexicon()["verbs"].values()} | set(_ACTS_ZH), key=len, reverse=True)
    verb = next((zh for zh in verbs if zh and head.startswith(zh) and len(head) > len(zh) + 1), "")
    return head[len(verb) :]


def _joined_zh(verb: str, thing: str) -> str:
    if verb in DONE_TO and thing:
        return f"给{' ' if thing[0].isascii() else ''}{thing}{verb}"
    return f"{verb}{' ' if thing[:1].isascii() else ''}{thing}"
