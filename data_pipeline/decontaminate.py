"""What must not be trained on: user turns and tools of benchmarks.

A conversation is contaminated when one of its user turns shares 13 tokens in a row with a reference turn (the n-gram
of Brown et al. 2020, arXiv:2005.14165, appendix C), when it repeats a shorter reference turn whole, or when it offers a
tool whose signature (name, parameter names and types) is one of the reference's.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.words import tokens, user_turns
from fcdist.config.types import MergeConfig
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation, Tool

BFCL = "bfcl"
"""Stands for the question files of the installed package bfcl-eval."""
MIN_WHOLE_TURN = 6
"""A shorter turn ("yes, that one please") is no evidence of anything."""
_TYPES = {"dict": "object", "float": "number", "tuple": "array", "list": "array", "bool": "boolean", "int": "integer"}
_SPEAKERS = {"user", "human"}


@dataclass(frozen=True, slots=True)
class Contamination:
    """What a conversation has in common with a reference."""

    reason: str
    """`user_turn` or `tool_signature`; a counter key."""
    reference: str
    """File and line or id of the first reference that has it."""
    text: str
    """The shared tokens, or the tool's signature."""

    def collision(self) -> dict[str, str]:
        """What is noted beside the row that goes."""
        return {"reference": self.reference, "text": self.text}


def tool_signature(tool: Tool) -> str:
    """`name(parameter:type, …)` with parameters sorted; separators and case of the name do not count."""
    return _signature(tool.name, tool.parameters)


class References:
    """Turns and tools to keep away from. Size depends on the references alone, not on the data checked.

    Args:
        ngram: tokens in a row that count as overlap.
    """

    def __init__(self, ngram: int = 13) -> None:
        self._ngram = ngram
        self._grams: dict[str, str] = {}
        self._whole: dict[str, str] = {}
        self._tools: dict[str, str] = {}
        self.files: list[Path] = []
        self.num_turns = 0

    @property
    def num_tools(self) -> int:
        """Distinct tool signatures."""
        return len(self._tools)

    def read(self, path: Path) -> None:
        """Add a file: JSON lines or a JSON array of conversations (OpenAI, ShareGPT, BFCL) or of tools; `.txt`: turns.

        Raises:
            GenerationError: the file cannot be read, or a record holds neither a user turn nor a tool.
        """
        for where, record in _records(path):
            turns = list(_turns(record))
            tools = list(_tools(record))
            if not turns and not tools:
                raise GenerationError(
                    f"{where}: holds neither user turns (messages, conversations, question) nor tools (tools, "
                    "function, name + parameters); merge.decontaminate takes such files and .txt with a turn a line"
                )
            label = str(record.get("id") or where) if isinstance(record, Mapping) else where
            for turn in turns:
                self._add_turn(turn, label)
            for name, parameters in tools:
                self._tools.setdefault(_signature(name, parameters), label)
        self.files.append(path)

    def check(self, conversation: Conversation) -> Contamination | None:
        """The first overlap of a conversation with the references, None if there is none."""
        for turn in user_turns(conversation):
            if found := self._overlap(tokens(turn)):
                return found
        for tool in conversation.tools:
            signature = tool_signature(tool)
            if signature in self._tools:
                return Contamination("tool_signature", self._tools[signature], signature)
        return None

    def _add_turn(self, text: str, label: str) -> None:
        words = tokens(text)
        self.num_turns += 1
        if MIN_WHOLE_TURN <= len(words) < self._ngram:
            self._whole.setdefault(" ".join(words), label)
        for gram in _ngrams(words, self._ngram):
            self._grams.setdefault(gram, label)

    def _overlap(self, words: Sequence[str]) -> Contamination | None:
        if len(words) < self._ngram:
            whole = " ".join(words)
            return Contamination("user_turn", self._whole[whole], whole) if whole in self._whole else None
        for gram in _ngrams(words, self._ngram):
            if gram in self._grams:
                return Contamination("user_turn", self._grams[gram], gram)
        return None


def bfcl_files() -> list[Path] | None:
    """Question and function files of bfcl-eval, sorted; None if the package is not installed."""
    spec = importlib.util.find_spec("bfcl_eval")
    if spec is None or spec.origin is None:
        return None
    data = Path(spec.origin).parent / "data"
    # format_sensitivity lists ids of other files.
    questions = [path for path in data.glob("BFCL_v*.json") if "format_sensitivity" not in path.name]
    return sorted([*questions, *data.glob("multi_turn_func_doc/*.json")])


def read_references(config: MergeConfig) -> tuple[References, list[str]]:
    """Read what to keep away from: `config.decontaminate`, in n-grams of `config.ngram`.

    Returns:
        The references, and a line about each for people: a benchmark that is not installed is said, not passed over.

    Raises:
        GenerationError: a file cannot be read.
    """
    references, lines = References(config.ngram), []
    for name in config.decontaminate:
        files = bfcl_files() if name == BFCL else [Path(name)]
        if files is None:
            lines.append("BFCL: not checked, the package bfcl-eval is not installed (pip install --no-deps bfcl-eval)")
            continue
        turns, tools = references.num_turns, references.num_tools
        for path in files:
            references.read(path)
        label = "BFCL" if name == BFCL else Path(name).name
        turns, tools = references.num_turns - turns, references.num_tools - tools
        lines.append(f"{label} ({turns:,} user turns, {tools:,} tool signatures)")
    return references, lines


def _ngrams(words: Sequence[str], size: int) -> Iterator[str]:
    for start in range(len(words) - size + 1):
        yield " ".join(words[start : start + size])


def _records(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise GenerationError(f"merge.decontaminate: {path} cannot be read: {error}") from None
    if path.suffix == ".txt":
        yield from ((f"{path.name}:{n}", {"question": line}) for n, line in enumerate(text.splitlines(), 1) if line)
        return
    if text.lstrip().startswith("["):
        yield from ((f"{path.name}: record {n}", record) for n, record in enumerate(_decoded(text, str(path))))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield f"{path.name}:{number}", _decoded(line, f"{path}:{number}")


def _decoded(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise GenerationError(f"{where}: not JSON ({error}): {text[:80]!r}") from None


def _turns(record: Any) -> Iterator[str]:
    """User turns of a record in any of the layouts `References.read` names."""
    if not isinstance(record, Mapping):
        return
    if isinstance(record.get("question"), str):
        yield record["question"]
    for key in ("messages", "conversations", "question"):
        yield from _spoken(record.get(key))


def _spoken(value: Any) -> Iterator[str]:
    if isinstance(value, list):  # BFCL nests one more list a turn
        for item in value:
            yield from _spoken(item)
    elif isinstance(value, Mapping) and value.get("role", value.get("from")) in _SPEAKERS:
        text = value.get("content", value.get("value"))
        if isinstance(text, str) and text.strip():
            yield text


def _tools(record: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(record, Mapping):
        return
    if isinstance(record.get("name"), str) and isinstance(record.get("parameters"), Mapping):
        yield record["name"], record["parameters"]
    for key in ("tools", "function"):
        listed = record.get(key)
        if isinstance(listed, str) and listed.strip():  # ShareGPT keeps its tools as JSON text
            listed = _decoded(listed, f"{key} of a reference")
        for item in listed if isinstance(listed, list) else [listed]:
            inner = item.get("function", item) if isinstance(item, Mapping) else None
            if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
                yield inner["name"], inner.get("parameters") or inner.get("inputSchema") or {}


def _signature(name: str, parameters: Mapping[str, Any]) -> str:
    properties = parameters.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    typed = sorted(f"{key.lower()}:{_type(value)}" for key, value in known.items())
    return f"{''.join(c for c in name.lower() if c.isalnum())}({', '.join(typed)})"


def _type(schema: Any) -> str:
    kind = schema.get("type", "any") if isinstance(schema, Mapping) else "any"
    return "|".join(sorted(map(str, kind))) if isinstance(kind, list) else _TYPES.get(str(kind).lower(), str(kind))
