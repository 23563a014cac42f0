"""How people really type: lower case, missing marks, slips of finger and ear, a foreign word; values stay intact.

Spans that carry values are never touched, so that whatever grounds a call can still be found word for word.
"""

import random
import re
from collections.abc import Callable, Collection, Iterable, Sequence

NOISY = 0.13
"""Share of user turns that are not clean, unless the persona says otherwise."""
_SHORT_EN = (
    (r"\byou\b", "u"),
    (r"\bare\b", "r"),
    (r"\bplease\b", "pls"),
    (r"\bthanks\b", "thx"),
    (r"\bthank you\b", "thank u"),
    (r"\btomorrow's\b", "tmrw's"),
    (r"\bwant to\b", "wanna"),
    (r"\bgoing to\b", "gonna"),
    (r"\bbecause\b", "cuz"),
    (r"\babout\b", "abt"),
    (r"\binformation\b", "info"),
    (r"\bI need\b", "need"),
)
_SLIPS_ZH = (
    ("账", "帐"),
    ("订", "定"),
    ("再", "在"),
    ("吧", "把"),
    ("安排", "按排"),
    ("需要", "须要"),
    ("做", "作"),
    ("已", "以"),
)
"""What an input method offers first, or a writer mixes up."""
_FILLERS_ZH = ("嗯", "那个", "呃", "就是")
_FILLERS_EN = ("um", "uh", "so", "okay")
_MIXED_ZH = (
    (r"(?<!取消)(?<!机票)预订|预约", "book"),
    (r"取消", "cancel"),
    (r"会议", "meeting"),
    (r"邮件", "email"),
    (r"日程", "schedule"),
    (r"确认", "confirm"),
    (r"发给", "send给"),
    (r"比较|对比", "compare"),
    (r"查一下|查查", "check一下"),
    (r"更新", "update"),
    (r"链接", "link"),
    (r"预算", "budget"),
    (r"文件", "file"),
    (r"项目", "project"),
    (r"餐厅", "restaurant"),
    (r"酒店", "hotel"),
    (r"航班", "flight"),
    (r"订(?=一?[张个间桌下])", "book"),
)
Edit = Callable[[list[str], random.Random], list[str]]
"""Changes the pieces of a turn that stand between the values."""


def noisy(text: str, protected: Iterable[str], language: str, rng: random.Random, share: float = NOISY) -> str:
    """`text`, with probability `share` as somebody in a hurry or a speech recogniser would write it.

    Args:
        text: a clean user turn.
        protected: words that carry values; they stay as they are.
        language: en or zh.
        rng: source of choices.
        share: probability of any change.
    """
    if rng.random() >= share:
        return text
    edits = _EDITS_ZH if language == "zh" else _EDITS_EN
    edit = rng.choices(edits, _WEIGHTS[language])[0]
    return _outside(text, protected, lambda pieces: edit(pieces, rng)).strip() or text


def code_switched(text: str, protected: Iterable[str], rng: random.Random) -> str:
    """Chinese with one English word of everyday office talk: 帮我book一下."""
    return _outside(text, protected, lambda pieces: _once(pieces, _MIXED_ZH, rng))


def _outside(text: str, protected: Iterable[str], edit: Callable[[list[str]], list[str]]) -> str:
    """Apply `edit` to what stands between the protected spans."""
    pieces = _divided(text, {span for span in protected if span})
    pieces[::2] = edit(pieces[::2])
    return "".join(pieces)


def _divided(text: str, spans: Collection[str]) -> list[str]:
    """`text` in pieces, every other one a span: the first that stands there, the longest of those."""
    pieces, start = [], 0
    while found := min(((at, -len(s), s) for s in spans if (at := text.find(s, start)) >= 0), default=None):
        at, _, span = found
        pieces += [text[start:at], span]
        start = at + len(span)
    return [*pieces, text[start:]]


def _once(pieces: list[str], pairs: Sequence[tuple[str, str]], rng: random.Random) -> list[str]:
    """Replace one occurrence of one of `pairs` that no span touches: a word right after an address would join it."""
    found = [
        (i, pattern, new)
        for i, piece in enumerate(pieces)
        for pattern, new in pairs
        if (match := re.search(pattern, piece)) is not None
        and (i == 0 or match.start() > 0)
        and (i == len(pieces) - 1 or match.end() < len(piece))
    ]
    if found:
        i, pattern, new = rng.choice(found)
        pieces[i] = re.sub(pattern, new, pieces[i], count=1)
    return pieces


def _lower(pieces: list[str], rng: random.Random) -> list[str]:
    pieces[-1] = re.sub(r"[.!]+\s*$", "", pieces[-1])
    return [piece.lower() for piece in pieces]


def _typo(pieces: list[str], rng: random.Random) -> list[str]:
    """One slip in a long word: two letters swapped, one left out or one doubled."""
    words = [(i, match) for i, piece in enumerate(pieces) for match in re.finditer(r"\b[a-z]{5,}\b", piece)]
    if words:
        i, word = rng.choice(words)
        w, at = word[0], rng.randrange(1, len(word[0]) - 2)
        slips = (w[:at] + w[at + 1] + w[at] + w[at + 2 :], w[:at] + w[at + 1 :], w[:at] + w[at] + w[at:])
        pieces[i] = pieces[i][: word.start()] + rng.choice(slips) + pieces[i][word.end() :]
    return pieces


def _chat(pieces: list[str], rng: random.Random) -> list[str]:
    return [_short(piece) for piece in _lower(pieces, rng)]


def _short(piece: str) -> str:
    for pattern, new in _SHORT_EN:
        piece = re.sub(pattern, new, piece, flags=re.I)
    return re.sub(r"(?<=[a-z])'(?=[a-z])", "", piece)


def _unmarked(pieces: list[str], rng: random.Random) -> list[str]:
    """Without marks between and after the sentences."""
    return [re.sub(r"[.,!?;](?=\s|$)", "", piece) for piece in pieces]


def _heard(pieces: list[str], rng: random.Random) -> list[str]:
    """As a speech recogniser hands it over: no case, no marks, a filler now and then."""
    plain = [piece.lower() for piece in _unmarked(pieces, rng)]
    if plain[0][:1].isalpha() and rng.random() < 0.4:
        plain[0] = f"{rng.choice(_FILLERS_EN)} {plain[0]}"
    return plain


def _bare_zh(pieces: list[str], rng: random.Random) -> list[str]:
    """Blanks for commas, nothing at the end."""
    pieces[-1] = re.sub(r"[。！]\s*$", "", pieces[-1])
    return [piece.replace("，", " ") for piece in pieces]


def _slip_zh(pieces: list[str], rng: random.Random) -> list[str]:
    return _once(pieces, _SLIPS_ZH, rng)


def _heard_zh(pieces: list[str], rng: random.Random) -> list[str]:
    # A mark alone between two values becomes a blank, so that they never run together.
    plain = [re.sub(r"[，。！？]", "", piece) or " " * bool(piece) for piece in pieces]
    if rng.random() < 0.4:
        plain[0] = rng.choice(_FILLERS_ZH) + plain[0]
    return plain


def _ascii_zh(pieces: list[str], rng: random.Random) -> list[str]:
    """Half-width marks, as typed without switching the keyboard."""
    return [piece.translate(_HALF_WIDTH) for piece in pieces]


_HALF_WIDTH = str.maketrans("，。？！：", ",.?!:")
_EDITS_EN: tuple[Edit, ...] = (_lower, _typo, _chat, _unmarked, _heard)
_EDITS_ZH: tuple[Edit, ...] = (_bare_zh, _ascii_zh, _heard_zh, _slip_zh)
_WEIGHTS = {"en": (5, 4, 3, 2, 2), "zh": (6, 3, 3, 3)}
