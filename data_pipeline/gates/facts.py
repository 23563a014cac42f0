"""Facts in texts: numbers, dates, clock times, identifiers and names, and which of them were told before a turn."""

import re
import string
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

from data_pipeline.gates.evidence import leaves_day_open
from data_pipeline.gates.reading import Reading, fold
from data_pipeline.normalisers import dates, numbers, times
from data_pipeline.normalisers.aliases import other_names

Day = tuple[int, int, int | None]
"""Month, day, and the year where it is told."""

_DIGITS = re.compile(r"\d(?:[\d.,:/-]*\d)?(?:[A-Za-z]+|[年月日号点])?")
_IDEOGRAPH = re.compile(r"[\u4e00-\u9fff]")
_IDENTIFIER = re.compile(r"(?<![A-Za-z0-9])(?=[A-Za-z-]*\d)(?=[\d-]*[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*")
_QUANTITY = re.compile(
    r"\d+(?:st|nd|rd|th|am|pm|[ap]|h|hrs?|mins?|m?s|[kcmn]?m|[km]?g|lbs?|oz|m?l|[kmgt]b|[kmg]?hz|k?wh?|k?cal|[mk]ph|"
    r"[kxcfvdwa]|ft|in|bn|usd|eur|gbp|cny|rmb)",
    re.I,
)
_JOINED = frozenset(string.ascii_letters + "-")
"""What may join letters to the digits behind them."""
_LIST_MARK = re.compile(r"(?:(?<=\s)|^)\(?\d{1,2}[.)、](?=\s|[^\W\d])")
_GROUPED = re.compile(r"(?<![\w.])\+?\(?\d(?:[ ()-]{0,2}\d){6,}(?![\w:])", re.ASCII)
_NUMBER = re.compile(r"(?<![\d.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?")
_SCALED = re.compile(r"(\d+(?:,\d{3})*(?:\.\d+)?)\s*(thousand|million|billion|万|亿|k\b|m\b)", re.I)
_SCALE = {"thousand": 1e3, "k": 1e3, "million": 1e6, "m": 1e6, "billion": 1e9, "万": 1e4, "亿": 1e8}
_CLOCK = re.compile(
    r"(?<![\d:])\d{1,2}:\d{2}(?::\d{2})?(?:\s*[ap]\.?m\.?)?(?![\d:])|(?<!\d)\d{1,2}\s*[ap]\.?m\b\.?|"
    r"(?:凌晨|早上|上午|中午|下午|傍晚|晚上)?\d{1,2}[点點](?:半|[一三]刻|\d{1,2}分?)?",
    re.I,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?:jan|feb|mar|apr|may|june?|july?|aug|sept?|oct|nov|dec)(?:uary|ruary|ch|il|ust|ember|ober)?\b\.?"
_DAY = re.compile(
    r"(?=\d|\b[jfmasond])(?:"  # most places fail at once
    rf"\b({_MONTH})\s+(?:the\s+)?(\d{{1,2}})(?:st|nd|rd|th)?\b(?!:)(?:,?\s+(\d{{4}}))?|"
    rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?({_MONTH})(?:\s+(\d{{4}}))?|"
    r"(?:(\d{4})年)?(\d{1,2})月(\d{1,2})[日号]|(\d{4})[-/](\d{1,2})[-/](\d{1,2}))",
    re.I,
)
_QUOTED = re.compile(r"《([^《》]{2,40})》|「([^「」]{2,40})」|“([^“”]{2,40})”|\"([^\"\n]{2,40})\"")
_MORE = r"[\w'’&-]*"
_CAPITAL = rf"[A-Z]{_MORE}"
_AFTER = r"(?:(?<=\b(?:at|by|to|in)\s.)|(?<=\b(?:from|with|near)\s.)|(?<=\bnamed\s.)|(?<=\bcalled\s.))"
_CAPITALS = re.compile(  # begins with a capital, so that the engine can skip to one, and looks back from there
    rf"[A-Z]{_AFTER}{_MORE}(?:\s+{_CAPITAL})*|"
    rf"[A-Z](?<=\s.)(?<![.!?:;\n•*(\"“]\s.){_MORE}(?:\s+(?:(?:of|the|and|de|la|&)\s+)?{_CAPITAL})+"
)
"""Names after a preposition, and of several words anywhere but at the beginning of a sentence."""
_LATIN_IN_CHINESE = re.compile(r"(?<![A-Za-z0-9@._/-])[A-Za-z][A-Za-z0-9._'-]{2,}(?![A-Za-z0-9@._/-])")
_PLACE_ZH = re.compile(
    r"(?:推荐|选择|预订|入住|位于|[去到是叫在和、与])(?:[您你]|给[您你])?(?:[去到]|的是)?([\u4e00-\u9fff·]{2,12}?)"
    r"(大酒店|酒店|饭店|宾馆|餐厅|餐馆|公园|机场|火车站|车站|地铁站|大学|医院|博物馆|影院|剧院|购物中心|大厦|航空|银行|"
    r"先生|女士|医生|教授)"
)
_GENERAL_ZH = re.compile(
    r"[的是了在有和与及家个间些座所位该这那此哪其您你我他她它们到去从为把被给让向往离近边附周旁最好选推荐找订预定一二三四"
    r"说讲问两几多每各别其任何不没想要能可会请于由对中型式端级类业务合适条件符合住吃玩看叫名称称呼作外内新老高低大小以下"
    r"旅连锁快捷经济豪华舒商团当地国际家庭主治值班]"
)
_COMMON_WORDS = (
    "i i'm i've i'll i'd ok okay am pm a.m p.m usd eur gbp cny rmb gmt utc id api url faq tv dvd wi-fi wifi gps atm "
    "vip diy eta bmi kg km gb mb monday tuesday wednesday thursday friday saturday sunday january february march "
    "april may june july august september october november december christmas easter english chinese french german "
    "spanish mr mrs ms dr st ave rd the a an and of in on at to for is are with have your you please shall called "
    "degrees celsius fahrenheit my it"
)
_COMMON = frozenset(_COMMON_WORDS.split())


def days(text: str) -> Iterator[Day]:
    """Every date that is written out, with or without its year."""
    for match in _DAY.finditer(text):
        if (day := _day(match)) is not None:
            yield day


def dated(text: str) -> Iterator[tuple[int, int, Day]]:
    """(start, end, date) of every date that is written out."""
    for match in _DAY.finditer(text):
        if (day := _day(match)) is not None:
            yield match.start(), match.end(), day


def _day(match: re.Match[str]) -> Day | None:
    m1, d1, y1, d2, m2, y2, y3, m3, d3, y4, m4, d4 = match.groups()
    name = m1 or m2
    month, day = _MONTHS.index(name[:3].lower()) + 1 if name else int(m3 or m4), int(d1 or d2 or d3 or d4)
    year = y1 or y2 or y3 or y4
    return (month, day, int(year) if year else None) if 1 <= month <= 12 and 1 <= day <= 31 else None


def plain_numbers(text: str) -> set[float]:
    """Numbers in digits, without sign: a hyphen may belong to an identifier."""
    return {float(number.replace(",", "")) for number in _NUMBER.findall(text)}


def names(text: str) -> Iterator[str]:
    """Names, as far as they can be told from other words: quoted, capitalised, Latin among ideographs, places."""
    for match in _QUOTED.finditer(text):
        yield next(group for group in match.groups() if group)
    if text.isascii() or not _IDEOGRAPH.search(text):
        yield from _CAPITALS.findall(text)
        return
    yield from _LATIN_IN_CHINESE.findall(text)
    for match in _PLACE_ZH.finditer(text):
        if not _GENERAL_ZH.search(match[1][-2:]):
            yield match[1][-2:] + match[2]


class Told:
    """Which facts were told before a turn: by the system message, the user, results, and arguments of calls.

    What the assistant said is not among them, or its first invention would justify the second.
    """

    def __init__(self, reading: Reading) -> None:
        # Not the reading itself: it keeps this, and a circle would wait for the garbage collector.
        self._messages = reading.messages
        self._results = reading.results
        self._today = reading.today
        self._offered = reading.conversation.tools
        self._texts = [
            "\n".join(call.arguments for call in m.tool_calls) if m.role == "assistant" else m.content or ""
            for m in reading.messages
        ]
        self._cache: dict[tuple[str, int], Any] = {}
        self._tokens: list[set[str]] = [set()]
        """Number of texts → tokens of that many."""

    def unknown_fact(self, text: str, turn: int) -> str | None:
        """Kind of the first fact in `text` that was not told before `turn`: date, time, identifier or number."""
        text = _LIST_MARK.sub(" ", text) if ". " in text or ")" in text or "、" in text else text
        tokens = _tokens(text)
        if not tokens or tokens <= self._tokens_before(turn):
            return None  # everything with digits stands in what was told as it is
        told = {(month, day) for month, day, _ in days(text)}
        if not all(self._has(self._days, day, turn) for day in told) and not self._day_is_open(told, turn):
            return "date"
        rest = _GROUPED.sub(lambda m: " " if self._has_digits(m[0], turn) else m[0], text)
        rest = _DAY.sub(" ", rest) if told else rest
        for clock in _CLOCK.findall(rest):
            said = times(clock, loose=True)
            if not any(self._has(self._clocks, time, turn) for time in said) and not self.says(fold(clock), turn):
                return "time"
        rest = _CLOCK.sub(" ", rest)
        for token in _IDENTIFIER.findall(rest):
            if not _QUANTITY.fullmatch(token) and not self.says(fold(token), turn) and fold(token) not in self._tools:
                return "identifier"
        quantities = _IDENTIFIER.sub(lambda m: m[0] if _QUANTITY.fullmatch(m[0]) else " ", rest)
        known = all(self._knows_number(number, rest, turn) for number in set(_NUMBER.findall(quantities)))
        return None if known else "number"

    def knows_name(self, name: str, turn: int) -> bool:
        """Whether a name, or each of its uncommon words, was told before `turn` or belongs to a tool."""
        folded = fold(name)
        if self.says(folded, turn) or folded in self._tools:
            return True
        if any(self.says(other, turn) for other in other_names(folded)):
            return True
        words = re.findall(r"[^\W_]+(?:[.'&-][^\W_]+)*", folded)
        unknown = [word for word in words if word not in _COMMON and not self.says(word.removesuffix("'s"), turn)]
        return all(word.removesuffix("s") in self._tools for word in unknown)

    def says(self, text: str, turn: int) -> bool:
        """Whether folded `text` was told before `turn`."""
        return any(text in self._folded(place) for place in range(turn - 1, -1, -1))

    def _knows_number(self, text: str, answer: str, turn: int) -> bool:
        digits = text.replace(",", "")
        value = float(digits)
        if self._has(self._numbers, value, turn):
            return True
        if len(digits) >= 5 and self._has_digits(digits, turn):
            return True
        known = {n for place in range(turn) for n in self._numbers(place)}
        decimals = len(digits.partition(".")[2])
        if any(value in (round(n, decimals), round(n * 100, decimals)) for n in known if n % 1):
            return True
        scales = {float(n.replace(",", "")) * _SCALE[s.lower()] for n, s in _SCALED.findall(answer)}
        if any(abs(scale - n) <= 0.05 * scale for scale in scales for n in known if n >= 1000):
            return True
        if re.search(rf"(?<!\d){re.escape(digits)}(?!\d)", self._tools):
            return True
        return any(value in numbers(self._texts[place]) for place in self._results if place < turn)

    def _has_digits(self, text: str, turn: int) -> bool:
        """Whether the digits of `text` were told in a row: telephone numbers are grouped in many ways."""
        digits = re.sub(r"\D", "", text)
        return any(digits in self._digits(place) for place in range(turn))

    def _day_is_open(self, told: set[tuple[int, int]], turn: int) -> bool:
        """Whether nobody could place the user's days, as no message tells the date; or a tool has it as default."""
        said = "\n".join(message.content or "" for message in self._messages[:turn] if message.role == "user")
        if self._today is None and leaves_day_open(said):
            return True
        return told <= {(month, day) for month, day, _ in days(self._tools)}

    def _has(self, facts: Callable[[int], set[Any]], value: Any, turn: int) -> bool:
        return any(value in facts(place) for place in range(turn - 1, -1, -1))

    def _of(self, kind: str, place: int, compute: Callable[[str], Any]) -> Any:
        key = (kind, place)
        if key not in self._cache:
            self._cache[key] = compute(self._texts[place])
        return self._cache[key]

    def _tokens_before(self, turn: int) -> set[str]:
        while len(self._tokens) <= turn:
            place = len(self._tokens) - 1
            self._tokens.append(self._tokens[place] | _tokens(self._texts[place]))
        return self._tokens[turn]

    def _folded(self, place: int) -> str:
        text: str = self._of("text", place, fold)
        return text

    def _digits(self, place: int) -> str:
        text: str = self._of("digits", place, lambda text: re.sub(r"\D", "", text))
        return text

    def _clocks(self, place: int) -> set[str]:
        found: set[str] = self._of(
            "clocks", place, lambda text: times(re.sub(r"(?<=\d)T(?=\d)", " ", text), loose=True)
        )
        return found

    def _days(self, place: int) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = self._of("days", place, lambda text: self._find_days(text, place))
        return found

    def _find_days(self, text: str, place: int) -> set[tuple[int, int]]:
        found = {(month, day) for month, day, _ in days(text)}
        if self._messages[place].role == "user":
            found |= {(int(iso[5:7]), int(iso[8:10])) for iso in dates(text, self._today)}
        return found

    def _numbers(self, place: int) -> set[float]:
        found: set[float] = self._of("numbers", place, lambda text: self._find_numbers(text, place))
        return found

    def _find_numbers(self, text: str, place: int) -> set[float]:
        found = plain_numbers(text)
        if self._messages[place].role in ("user", "system"):
            found |= {abs(number) for number in numbers(text)}
        elif place in self._results:
            found |= {float(size) for size in _sizes(self._results[place])}
        return found

    @cached_property
    def _tools(self) -> str:
        """Names, descriptions and schemas of the tools: limits and choices may be told from there."""
        return fold("\n".join(tool.function_text for tool in self._offered))


def _tokens(text: str) -> set[str]:
    """Everything with digits, and the letters before them ("CA-1234"), which a pattern would seek in every word."""
    found: set[str] = set()
    end = 0
    for match in _DIGITS.finditer(text):
        token, start = match[0], match.start()
        if text[start - 1 : start] in _JOINED:
            before = text[end:start]
            word = before.removesuffix("-")
            bare = word.rstrip(string.ascii_letters)
            if bare != word:
                token = before[len(bare) :] + token
        found.add(token)
        end = match.end()
    return found


def _sizes(content: Any) -> Iterator[int]:
    """Lengths of all lists in a result."""
    if isinstance(content, list):
        yield len(content)
    values = content.values() if isinstance(content, Mapping) else content if isinstance(content, list) else ()
    for value in values:
        yield from _sizes(value)
