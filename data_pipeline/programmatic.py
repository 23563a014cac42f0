"""The programmatic teacher: conversations whose truth is known by construction.

Metadata of its conversations, for the gates (user turns, calls and values are counted from 0, in order):

    tool_set, domain, domains, tools, parameters    whose tools these are, and public name (or dotted path) → base name
    today       ISO date of the system message, where it tells one
    calls       of every call {"name", "spans": path in the arguments → words}; words are a text the user said,
                {"text", "means"} for a declared synonym, {"text": "", "result": value} for a value of an earlier result
    kind        which of the sub-kinds of its category it is (the modules of data_pipeline.dialogues name them)
    negative    small_talk, removed, near_miss, howto, hypothetical or in_context; no call anywhere
    missing     [{"name", "noun"}] required parameters that the first request leaves out; the first answer asks for them
    asked_again [{"name", "noun"}] those of `missing` that the answer still lacked; the second question names them
    withheld    [{"name", "noun"}] those the user never gives: there is no call at all
    looked_up   [{"name", "noun", "call"}] those that call number `call` finds out instead of the user
    ambiguous   {"name", "text", "readings": [ISO dates]}: a date that must be asked about before the first call
    withdrawn   [{"name", "value", "turn"}] arguments that user turn `turn` takes back: no later call carries them
    dropped     user turn that takes its request back: no call follows
    errors      [{"call", "error"}] calls that fail or find nothing: not_found, sold_out, invalid, conflict, empty
    recalled    user turn that asks for an earlier result again: answered without a call
    world       {"seed", "setup"} to execute the calls again: setup says what existed before which call (World.setup)
    contrast    {"pair", "role", "of"}: `with` or `without` the needed `tool` or `slot`; the user's words are the same,
                but for the sentence that gives the slot
"""

import random
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

from data_pipeline.catalogue import load_catalogue
from data_pipeline.dialogues import Draft, RepetitionError, write
from data_pipeline.dialogues.contrast import plan_slot_pair, plan_tool_pair, write_with, write_without
from data_pipeline.importers.load import import_catalogue, servable_shares, split_tools
from data_pipeline.scenarios import Cell, Contrast, plan_cells, plan_contrasts
from data_pipeline.toolsets import ToolSet, Variety, build_tool_set
from data_pipeline.words import decoded_arguments
from data_pipeline.world import World
from fcdist.config.seeds import derive_seed
from fcdist.config.types import GenerateConfig
from fcdist.errors import GenerationError
from fcdist.schema.conversation import Conversation, Message


class ProgrammaticTeacher:
    """Writes conversation `index` of a run; a pure function of (configuration, seed, index)."""

    def __init__(self, config: GenerateConfig, seed: int) -> None:
        """Plan the quotas. Raises ConfigError for unknown categories, languages or domains."""
        self._config = config
        self._seed = seed
        built_in = load_catalogue()
        self._catalogue = import_catalogue(config.catalogue).catalogue if config.catalogue else built_in
        self._tools = tuple(split_tools(self._catalogue, config))
        self._per_set = max(1, config.conversations_per_tool_set)
        shares = servable_shares(config.shares, self._tools)[0] if config.catalogue else config.shares
        self._requests = self._tools if not config.catalogue else (*built_in.tools, *self._tools)
        # One request to a model asks for a set of tools, and for as many kinds of conversations as possible.
        mixed = config.teacher == "openai" and config.llm_mode == "free"
        self._cells = plan_cells(config.num_conversations, shares, config.languages, self._per_set, seed, mixed)
        self._contrasts = plan_contrasts(self._cells, self._per_set, config.contrast, seed)
        # A shard is written and then executed again: until then its tool sets are kept, and neighbours at both ends.
        at_once = min(config.shard_size, config.num_conversations) // self._per_set + 4
        self._tool_set = lru_cache(maxsize=at_once)(self._build_tool_set)

    def conversation(self, index: int, attempt: int = 0) -> Conversation:
        """Conversation `index`, 0 ≤ index < num_conversations; `attempt` > 0 gives another one of the same kind."""
        cell = self._cells[index]
        tool_set = self._tool_set(index // self._per_set)
        draft = self._draft(index, attempt, tool_set)
        messages = draft.messages if self._config.thoughts else [replace(m, thought=None) for m in draft.messages]
        metadata = {
            **tool_set.facts,
            "calls": draft.calls,
            **({"today": tool_set.today.isoformat()} if tool_set.today else {}),
            **draft.facts,
        }
        return Conversation(
            messages=tuple(messages),
            tools=tool_set.tools,
            id=f"prog-{self._seed}-{index}",
            source="programmatic",
            category=cell.category,
            language=cell.language,
            metadata=metadata,
        )

    def execute(self, conversation: Conversation) -> Iterator[dict[str, Any]]:
        """Yield the results of the calls of one of its conversations, executed again on a new world.

        Arguments are taken from the JSON text; the metadata says what existed or was bound to fail before which call.
        """
        facts = conversation.metadata or {}
        told, number = facts["world"], int(str(facts["tool_set"]).rpartition("-")[2])
        by_name = self._tool_set(number).by_name
        world = World(told["seed"], self._catalogue.pools, conversation.language)
        for call in (call for message in conversation.messages for call in message.tool_calls):
            world.restore(told["setup"])
            instance = by_name[call.name]
            arguments = instance.restore(decoded_arguments(call))
            yield instance.result(world.execute(instance.base, arguments, instance.labels))

    def _draft(self, index: int, attempt: int, tool_set: ToolSet) -> Draft:
        cell = self._cells[index]
        # Another attempt says other words: it is nobody's other half.
        contrast = self._contrasts.get(index) if attempt == 0 else None
        for again in range(100):
            seed = derive_seed(self._seed, "conversation", self._config.split, index, attempt, again)
            try:
                draft = self._contrasting(contrast, cell, again) if contrast else None
                if draft is None:
                    draft = self._begin(seed, tool_set, cell)
                    write(cell.category, draft)
            except RepetitionError:
                continue
            if draft.calls:
                draft.facts["world"] = {"seed": draft.world.seed, "setup": draft.world.setup}
            return draft
        raise GenerationError(f"conversation {index} ({cell.category}): its tools allow no two different calls")

    def _begin(self, seed: int, tool_set: ToolSet, cell: Cell) -> Draft:
        world = World(seed, self._catalogue.pools, cell.language)
        draft = Draft(tool_set, self._catalogue, cell.language, random.Random(seed), world, self._requests)
        if tool_set.system is not None:
            draft.messages.append(Message("system", tool_set.system))
        return draft

    def _contrasting(self, contrast: Contrast, cell: Cell, again: int) -> Draft | None:
        """One half of a contrast pair; None where the two tool sets allow none (then both halves stand alone)."""
        seed = derive_seed(self._seed, "contrast", self._config.split, contrast.pair, again)
        offering, lacking = self._tool_set(contrast.offering), self._tool_set(contrast.lacking)
        draft = self._begin(seed, offering, cell)
        shared = plan_tool_pair(draft, lacking) if contrast.of == "tool" else plan_slot_pair(draft)
        if shared is None:
            return None
        if contrast.role == "with":
            write_with(draft, shared)
        else:
            draft = draft if contrast.of == "slot" else self._begin(derive_seed(seed, "lacking"), lacking, cell)
            write_without(draft, shared)
        pair = f"{contrast.of}-{self._seed}-{contrast.pair}"
        draft.facts["contrast"] = {"pair": pair, "role": contrast.role, "of": contrast.of}
        return draft

    def _build_tool_set(self, number: int) -> ToolSet:
        cells = self._cells[number * self._per_set : (number + 1) * self._per_set]
        rng = random.Random(derive_seed(self._seed, "tool_set", self._config.split, number))
        config = self._config
        variety = Variety(config.disguise, config.large_tool_sets, config.split == "held_out")
        return build_tool_set(f"set-{self._seed}-{number}", cells, self._tools, self._catalogue.pools, rng, variety)
