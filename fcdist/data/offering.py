"""General chat under tool prompts: tools are offered and the talk does not need them, so the model just talks.

Without it every tool prompt of the training data stands before a request about tools, and what general chat teaches is
bound to prompts without any. Sets of irrelevant functions are how Hammer (Lin et al. 2024, arXiv:2410.04587) and
ToolACE (Liu et al. 2024, arXiv:2409.00920) teach when not to call; here the talk is real and the prompt one of the
data's own, which packing computes once for all examples under it.
"""

import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation, Message, Tool

WITH_TOOLS = "general_with_tools"
"""Category of general chat that was put under a tool prompt."""
MAX_PROMPTS = 4096
"""Tool prompts that are kept to choose from: the first ones."""
CANDIDATES = 4
"""Prompts drawn for each conversation; the one that has the least to do with it is taken."""
BYTES_PER_TOKEN = 2
"""Fewer than texts have, so that what is put together nearly always fits a pack."""

_WORD = re.compile(r"[A-Z]?[a-z]{2,}|[A-Z]{3,}|[\u4e00-\u9fff](?=([\u4e00-\u9fff]))")


@dataclass(frozen=True, slots=True)
class _Prompt:
    system: tuple[Message, ...]
    tools: tuple[Tool, ...]
    terms: frozenset[str]
    num_bytes: int


class ToolOffers:
    """Tool prompts of function-call conversations, and general chat put under them."""

    def __init__(self, share: float, max_tokens: int, seed: int) -> None:
        """
        Args:
            share: of the general conversations without tools and system message; 0 to 1.
            max_tokens: of an example.
            seed: of the run.
        """
        self._share, self._max_bytes, self._seed = share, max_tokens * BYTES_PER_TOKEN, seed
        self._prompts: list[_Prompt] = []
        self._known: set[str] = set()

    def collect(self, conversations: Iterable[Conversation]) -> None:
        """Remember the system messages and tools of function-call conversations."""
        for conversation in conversations:
            if len(self._prompts) == MAX_PROMPTS:
                return
            if conversation.tools:
                self._collect(tuple(_leading_system(conversation)), conversation.tools)

    def _collect(self, system: tuple[Message, ...], tools: tuple[Tool, ...]) -> None:
        text = "\n".join([*(message.content or "" for message in system), *(tool.function_text for tool in tools)])
        if text not in self._known:
            self._known.add(text)
            terms = _terms(" ".join(f"{tool.name} {tool.description}" for tool in tools))
            self._prompts.append(_Prompt(system, tools, terms, len(text.encode())))

    def offer(self, conversation: Conversation) -> Conversation:
        """The conversation under a tool prompt, or as it is.

        Equal conversations are treated alike, wherever they stand. One with tools or a system message of its own, and
        one that would get too long, stays as it is.
        """
        if not self._prompts or conversation.tools or conversation.messages[0].role == "system":
            return conversation
        text = conversation.messages_text()
        rng = random.Random(derive_seed(self._seed, "offered tools", text))
        if rng.random() >= self._share:
            return conversation
        room = self._max_bytes - len(text.encode())
        drawn = rng.sample(self._prompts, min(CANDIDATES, len(self._prompts)))
        fitting = [prompt for prompt in drawn if prompt.num_bytes <= room]
        if not fitting:
            return conversation
        asked = _terms(" ".join(m.content or "" for m in conversation.messages if m.role == "user"))
        chosen = min(fitting, key=lambda prompt: len(prompt.terms & asked))
        messages = chosen.system + conversation.messages
        return replace(conversation, messages=messages, tools=chosen.tools, category=WITH_TOOLS)


def _leading_system(conversation: Conversation) -> Iterable[Message]:
    for message in conversation.messages:
        if message.role != "system":
            return
        yield message


def _terms(text: str) -> frozenset[str]:
    """Words of four and more letters, without plural s, and pairs of Chinese characters."""
    found = (match[0] + (match[1] or "") for match in _WORD.finditer(text))
    return frozenset(term.lower().rstrip("s") for term in found if len(term) > 3 or not term.isascii())
