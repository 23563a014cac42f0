"""Read sources of conversations, whatever their place and format.

Every record becomes a checked `Conversation` or a `Dropped` with file, line and reason; nothing is lost in between.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fcdist.config.seeds import derive_seed
from fcdist.config.types import SourceConfig
from fcdist.errors import SchemaError, ShardError
from fcdist.schema.checks import check_conversation
from fcdist.schema.conversation import Conversation
from fcdist.sources.formats import from_alpaca, from_openai, from_sharegpt
from fcdist.sources.records import Unreadable, raw_records

REASONS: tuple[tuple[str, str], ...] = (
    ("is not JSON", "not_json"),
    ("unknown field", "unknown_field"),
    ("calls unknown tool", "unknown_tool"),
    ("observation", "results_do_not_match_calls"),
    ("tool_call_id", "results_do_not_match_calls"),
    ("not a valid JSON Schema", "invalid_tool"),
    ("arguments", "arguments_break_schema"),
    ("the last must be the assistant's", "last_turn_not_assistant"),
    (".role is", "roles_out_of_order"),
    ("has no content", "empty_turn"),
    ("neither content nor tool_calls", "empty_turn"),
    ("function_call", "unreadable_call"),
    ("tools", "invalid_tool"),
)
"""Part of a schema message → counter key; the whole message is kept beside the dropped record."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A record that did not become an example."""

    source: str
    where: str
    """File and line, or file and number of the record in an array."""
    reason: str
    """Counter key, without free text."""
    detail: str
    """The rule that was broken, with the field."""
    record: Any

    def to_wire(self) -> dict[str, Any]:
        """One line of `dropped.jsonl`."""
        return {name: getattr(self, name) for name in self.__slots__}


def reason_of(error: Exception) -> str:
    """Counter key of a schema error."""
    text = str(error)
    return next((reason for part, reason in REASONS if part in text), "invalid_record")


def read_source(
    source: SourceConfig, name: str, seed: int = 0, on_dropped: Callable[[Dropped], None] | None = None
) -> Iterator[Conversation]:
    """Yield the checked conversations of one source, in file order.

    Args:
        source: where and in which format.
        name: key under `data.sources`; used for ids, errors and counts.
        seed: chooses the conversations when `max_conversations` limits them.
        on_dropped: receives every invalid record when `source.on_error` is `drop`.

    Raises:
        ShardError: an invalid record, with file, line and rule, when `source.on_error` is `error`; an unreadable file.
    """
    conversations = _read_all(source, name, on_dropped or (lambda dropped: None))
    if not source.max_conversations:
        yield from conversations
        return
    everything = list(conversations)
    if len(everything) > source.max_conversations:
        chosen = random.Random(derive_seed(seed, "choose", name)).sample(
            range(len(everything)), source.max_conversations
        )
        everything = [everything[i] for i in sorted(chosen)]
    yield from everything


def _read_all(source: SourceConfig, name: str, on_dropped: Callable[[Dropped], None]) -> Iterator[Conversation]:
    for index, (where, record) in enumerate(raw_records(source)):
        try:
            conversation = _convert(record, source, name, index)
        except SchemaError as error:
            if source.on_error == "error":
                raise ShardError(f"{where}: {error}{_way_out(error, name)}") from None
            raw = record.text if isinstance(record, Unreadable) else record
            on_dropped(Dropped(name, where, reason_of(error), str(error), raw))
        else:
            yield conversation


def _way_out(error: SchemaError, name: str) -> str:
    if str(error).startswith("conversation has unknown field"):
        return f". Name it in data.sources.{name}.ignore_fields to leave it out"
    return f". Mend the record, or set data.sources.{name}.on_error=drop to leave such records out, counted"


def _convert(record: Any, source: SourceConfig, name: str, index: int) -> Conversation:
    if isinstance(record, Unreadable):
        raise SchemaError(f"the line is not JSON ({record.error}): {record.text[:80]!r}")
    if source.format == "openai":
        conversation = from_openai(record, source.ignore_fields)
    else:
        if not isinstance(record, Mapping):
            raise SchemaError(f"conversation must be an object, got {type(record).__name__}")
        record = {key: value for key, value in record.items() if key not in source.ignore_fields}
        conversation = from_sharegpt(record) if source.format == "sharegpt" else from_alpaca(record)
    check_conversation(conversation, tools_checked=True)
    return replace(
        conversation,
        id=conversation.id or f"{name}-{index}",
        category=conversation.category or _category(conversation, source.role),
    )


def _category(conversation: Conversation, role: str) -> str:
    """What a record teaches, where it does not say so itself."""
    if role == "general":
        return "general"
    if not conversation.tools:
        return "chat"
    return "call" if any(message.tool_calls for message in conversation.messages) else "no_call"
