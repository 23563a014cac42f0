"""Which self-written chat is worth training on: reasons, as counter keys, for what is not. Pure text, no model."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_UNITS = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]|[^\W\d_\u3400-\u9fff]+(?:['’][^\W\d_]+)?|\d+")
_LATIN_OR_CJK = re.compile(r"[A-Za-z\u00c0-\u024f\u3400-\u4dbf\u4e00-\u9fff]")
_MARKUP = re.compile(
    r"</?\s*(?:tool|function|thought|think)[_\s>]|<\|[^|\n]{1,40}\|>|\[/?INST\]|\"arguments\"\s*:|\"tool_calls?\"\s*:|"
    r"(?:^|\n)\s*(?:system|user|assistant|human|ai)\s*:",
    re.IGNORECASE,
)
_ASSISTANT_VOICE = re.compile(
    r"\s*(?:sure\b|certainly\b|of course\b|absolutely\b|great (?:question|choice)|here (?:is|are)\b|here['’]s\b|"
    r"as an ai\b|i['’]?a?m an ai\b|i['’]m sorry\b|i apologi[sz]e|i['’]d be (?:happy|glad|delighted)|"
    r"i['’]m (?:happy|glad|here) to (?:help|assist)|how (?:can|may) i (?:help|assist)|"
    r"what (?:can|would) (?:i|you like me to) (?:do|help)|"
    r"thank you for (?:your|reaching|contacting|asking)|当然|好的|以下是|很高兴|作为一个)",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"[?？]|\bplease\b|\b(?:can|could|would|will) you\b|\bhelp(?: me)?\b|\btell me\b|\bi(?: would|['’]d) like\b|"
    r"\bi (?:need|want|wonder|am looking|am trying|have to|don['’]t know)|\bi['’]m (?:looking|trying|unsure|not sure|"
    r"struggling|confused|curious|having|feeling|working|planning|interested|considering)|"
    r"^\W*(?:write|explain|describe|give|list|create|find|make|show|suggest|summari[sz]e|translate|compare|"
    r"calculate|name|provide|generate|compose|discuss|identify|rewrite|convert|design|develop|define|solve|imagine|"
    r"analy[sz]e|outline|recommend|classify|choose|plan|share|teach|improve|edit|correct|determine|use|add|answer|"
    r"what|how|why|when|where|who|which|is|are|do|does|did|should)\b|请|帮|吗|呢|什么|怎么|如何|为什么|哪|多少|给我|写",
    re.IGNORECASE,
)

MIN_USER_UNITS = 4
MIN_ANSWER_UNITS = 3
MAX_FOREIGN_SHARE = 0.1
MAX_REPEATED_SHARE = 0.25
DUPLICATE_OVERLAP = 0.5


def units(text: str) -> list[str]:
    """Lower-case words and numbers; each Chinese character on its own."""
    return [unit.lower() for unit in _UNITS.findall(text)]


def language_of(text: str) -> str:
    """`zh` where at least three in ten letters are Chinese characters, else `en`."""
    letters = sum(character.isalpha() for character in text)
    return "zh" if letters and len(CJK.findall(text)) / letters >= 0.3 else "en"


def user_reason(text: str) -> str | None:
    """Why a user turn is dropped; None keeps it."""
    if (reason := _common_reason(text)) is not None:
        return f"user_{reason}"
    if len(units(text)) < MIN_USER_UNITS:
        return "user_too_short"
    if _ASSISTANT_VOICE.match(text):
        return "user_sounds_like_assistant"
    return None if _REQUEST.search(text) else "user_asks_nothing"


def answer_reason(text: str, asked: str) -> str | None:
    """Why an answer to `asked` is dropped; None keeps it."""
    if (reason := _common_reason(text)) is not None:
        return f"answer_{reason}"
    said = units(text)
    if len(said) < MIN_ANSWER_UNITS:
        return "answer_too_short"
    if language_of(text) != language_of(asked):
        return "answer_in_other_language"
    question, answer = shingles(asked), shingles(text)
    if answer and len(question & answer) / len(answer) > DUPLICATE_OVERLAP:
        return "answer_echoes_user"
    return None


def repeated_share(words: Sequence[str], n: int = 4) -> float:
    """Share of n-grams that occurred before; 0 for a text shorter than two of them."""
    grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if len(grams) > 1 else 0.0


def shingles(text: str, n: int = 3) -> frozenset[tuple[str, ...]]:
    """Set of n-grams of units; a shorter text is one shingle."""
    words = units(text)
    return frozenset(tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))) if words else frozenset()


def opening(text: str, n: int = 3) -> str:
    """First `n` units, by which variety is counted."""
    return " ".join(units(text)[:n])


def distinct_ngrams(texts: Sequence[str], n: int = 2) -> float:
    """Distinct n-grams over all n-grams of the texts together ("distinct-n"); 0 without any."""
    grams = [tuple(words[i : i + n]) for words in map(units, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


class NearDuplicates:
    """Remembers texts and finds those that share most of their shingles with an earlier one (exact, by index)."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, ...], list[int]] = defaultdict(list)
        self._sizes: list[int] = []

    def add(self, text: str) -> bool:
        """Remember `text`. Returns False, remembering nothing, where an earlier text is nearly the same."""
        own = shingles(text)
        shared = Counter(place for shingle in own for place in self._places.get(shingle, ()))
        for place, common in shared.items():
            if common / (len(own) + self._sizes[place] - common) >= DUPLICATE_OVERLAP:
                return False
        for shingle in own:
            self._places[shingle].append(len(self._sizes))
        self._sizes.append(len(own))
        return True


def _common_reason(text: str) -> str | None:
    if not text.strip():
        return "empty"
    if _MARKUP.search(text):
        return "markup"
    letters = [character for character in text if character.isalpha()]
    if not letters:
        return "no_words"
    foreign = sum(not _LATIN_OR_CJK.match(character) for character in letters)
    if foreign / len(letters) > MAX_FOREIGN_SHARE or "\ufffd" in text:
        return "wrong_script"
    if _loops(text):
        return "loops"
    return None


def _loops(text: str) -> bool:
    words = units(text)
    if repeated_share(words) > MAX_REPEATED_SHARE:
        return True
    if any(words[i] == words[i + 1] == words[i + 2] for i in range(len(words) - 2)):
        return True
    rows = Counter(line.strip() for line in text.splitlines() if len(line.strip()) > 12)
    return bool(rows) and max(rows.values()) >= 3
