"""The held-out suite: every assistant turn of a held-out conversation is one item."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from fcdist.config.seeds import derive_seed
from fcdist.config.types import SourceConfig
from fcdist.errors import EvaluationError, ShardError
from fcdist.schema.conversation import Conversation, Message
from fcdist.schema.shards import read_shard, shard_paths
from fcdist.sources.records import raw_records


@dataclass(frozen=True, slots=True)
class Item:
    """One question to the model."""

    id: str
    """Conversation id and number of the assistant turn: unique in a suite and the same in every row."""
    context: Conversation
    """What the model sees; the last message is not the assistant's."""
    expected: Message
    turn: int
    """Assistant messages before this one."""
    category: str

    def said(self) -> str:
        """All text before the answer, the arguments of earlier calls included."""
        parts: list[str] = []
        for message in self.context.messages:
            parts.append(message.content or "")
            parts += [call.arguments for call in message.tool_calls]
        return "\n".join(parts)

    def is_unseen(self, seen_tools: Collection[str]) -> bool:
        """Whether none of the offered tools is among `seen_tools`."""
        return bool(self.context.tools) and not any(tool.name in seen_tools for tool in self.context.tools)


def read_suite(path: Path, limit: int, seed: int) -> list[Item]:
    """Items of a folder of shards or of one file.

    Args:
        path: `evaluate.suite`.
        limit: items to keep, the same share of each category and of call / no call; 0: all.
        seed: chooses them.

    Raises:
        EvaluationError: nothing there, or nothing in it.
        ShardError: a line is unreadable.
    """
    try:
        files = shard_paths(path)
    except ShardError as error:
        raise EvaluationError(
            f"evaluate.suite: {error}. Generate it with `fcdist generate generate.split=held_out`, "
            "or name a folder of held-out shards"
        ) from None
    conversations = [conversation for file in files for conversation in read_shard(file)]
    items = [item for number, conversation in enumerate(conversations) for item in split(conversation, number)]
    if not items:
        raise EvaluationError(f"evaluate.suite: {path} holds no conversation with an assistant turn")
    return choose(items, limit, seed)


def split(conversation: Conversation, number: int) -> list[Item]:
    """One item per assistant turn (of weight 1). `number` names a conversation without an id."""
    items: list[Item] = []
    turn = 0
    name = conversation.id or f"conversation-{number:06d}"
    for place, message in enumerate(conversation.messages):
        if message.role != "assistant":
            continue
        if message.weight:
            items.append(
                Item(
                    id=f"{name}/{turn}",
                    context=replace(conversation, messages=conversation.messages[:place]),
                    expected=message,
                    turn=turn,
                    category=conversation.category or "unlabelled",
                )
            )
        turn += 1
    return items


def choose(items: Sequence[Item], limit: int, seed: int) -> list[Item]:
    """A seeded choice of `limit` items in their order, stratified over (category, call or not) by largest remainder."""
    if limit <= 0 or limit >= len(items):
        return list(items)
    strata: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        strata[item.category, bool(item.expected.tool_calls)].append(place)
    shares = {key: limit * len(places) / len(items) for key, places in strata.items()}
    counts = {key: int(share) for key, share in shares.items()}
    by_remainder = sorted(shares, key=lambda key: (counts[key] - shares[key], key))
    for key in by_remainder[: limit - sum(counts.values())]:
        counts[key] += 1
    chosen: list[int] = []
    for key, places in sorted(strata.items()):
        chosen += Random(derive_seed(seed, "suite", *key)).sample(places, counts[key])
    return [items[place] for place in sorted(chosen)]


def training_tools(sources: Mapping[str, SourceConfig]) -> set[str] | None:
    """Names of the tools that training conversations in the OpenAI format offer.

    Returns:
        None if there is no function-call source that can be read here (it may have stayed on another machine).
    """
    names: set[str] = set()
    known = False
    for source in sources.values():
        if source.role != "function_call" or source.format != "openai":
            continue
        try:
            for _, record in raw_records(source, verify=False):
                names.update(tool["function"]["name"] for tool in record.get("tools") or ())
                known = True
        except (ShardError, KeyError, TypeError, AttributeError):
            return None
    return names if known else None
