"""A second language model says of what passed the gates: keep, or drop and why. An odd number of votes decides."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from data_pipeline.llm.client import Llm
from data_pipeline.llm.grouping import group_by_tools
from data_pipeline.llm.prompts import task_messages
from data_pipeline.llm.repair import read_list
from data_pipeline.llm.wire import Completion, Request
from data_pipeline.teachers import Draft, Usage
from fcdist.schema.conversation import Conversation, Message

VERSION = "judge-1"
GATE = "judge"
FAULTS: Mapping[str, str] = {
    "wrong_decision": "it calls where it should not, does not call where it should, or asks for what it was told",
    "wrong_function": "another function of the list fits the request better",
    "wrong_values": "an argument differs from what the user said, is made up, or a date is reckoned wrongly",
    "wrong_answer": "an answer says what the results do not say, contradicts them, or leaves the request open",
    "wrong_thought": "a thought contradicts the call or the answer after it",
    "unnatural": "a user's turn is nothing a real person would write, or its language is faulty",
    "incoherent": "the turns do not follow from one another",
}
"""Reasons to drop, as counter keys, with what they mean."""
NO_FAULT = "none"
VERDICT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "verdicts": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    # Before the verdict, so that it is thought through first.
                    "why": {"type": "string"},
                    "keep": {"type": "boolean"},
                    "fault": {"type": "string", "enum": [NO_FAULT, *FAULTS]},
                },
                "required": ["id", "why", "keep", "fault"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["verdicts"],
    "additionalProperties": False,
}

_PROMPT = """\
You check training dialogues between a user and an assistant that can call functions. You get the functions and some \
dialogues. Judge each on its own, as a careful annotator would, in whatever language it is written.

Drop a dialogue for one of these faults, and only for these:
{faults}
Results of functions come from a simulation: take them as true, however odd they are. Facts of the real world that the \
assistant states without a function must be right. A dialogue without these faults is kept, even if you would have \
written it otherwise.

Give for every dialogue its `id`, `why` in one short sentence, `keep`, and the worst `fault` (`{none}` when kept).
Reply with JSON alone: {{"verdicts": [{{"id": 0, "why": "...", "keep": true, "fault": "{none}"}}, ...]}}""".format(
    faults="\n".join(f"- `{name}`: {meaning}" for name, meaning in FAULTS.items()), none=NO_FAULT
)


@dataclass(frozen=True, slots=True)
class Vote:
    """One opinion on one conversation."""

    keep: bool
    fault: str


class Judge:
    """Asks a model about drafts, several of one tool set a request."""

    def __init__(self, llm: Llm, votes: int, per_request: int) -> None:
        """Args: votes: opinions on each draft, odd. per_request: drafts in a request at most."""
        self._llm = llm
        self._votes = votes
        self._per_request = per_request

    def review(self, drafts: Sequence[Draft]) -> list[Draft]:
        """The same drafts, in order; those that most votes drop get the reason `judge: FAULT`."""
        groups = group_by_tools([draft.conversation for draft in drafts], self._per_request)
        requests = [
            judge_request([drafts[i].conversation for i in group], vote)
            for group in groups
            for vote in range(self._votes)
        ]
        answers = self._llm.complete_all(requests)
        reviewed: dict[int, Draft] = {}
        for number, group in enumerate(groups):
            votes_cast = answers[number * self._votes : (number + 1) * self._votes]
            usage = sum((answer.usage for answer in votes_cast), Usage())
            ballots = [read_votes(answer, len(group)) for answer in votes_cast]
            for place, i in enumerate(group):
                reason = decide([ballot.get(place) for ballot in ballots])
                reviewed[i] = replace(drafts[i], reason=reason, judge_usage=usage if place == 0 else Usage())
        return [reviewed[i] for i in range(len(drafts))]


def judge_request(conversations: Sequence[Conversation], vote: int) -> Request:
    """Ask about conversations that share their tools; `vote` tells opinions on the same ones apart."""
    tools = [tool.to_wire() for tool in conversations[0].tools]
    dialogues = [
        {"id": number, "turns": [_turn(message) for message in conversation.messages]}
        for number, conversation in enumerate(conversations)
    ]
    messages = task_messages(_PROMPT, tools, dialogues=dialogues)
    return Request(messages, VERDICT_SCHEMA, VERSION, sample=vote)


def read_votes(answer: Completion, count: int) -> dict[int, Vote]:
    """Votes by the number of the conversation; none where the reply is missing, doubled or contradicts itself."""
    votes: dict[int, list[Vote]] = {}
    for item in [] if answer.refused else read_list(answer.text, VERDICT_SCHEMA):
        if item["keep"] == (item["fault"] == NO_FAULT):
            votes.setdefault(item["id"], []).append(Vote(item["keep"], item["fault"]))
    return {number: found[0] for number, found in votes.items() if 0 <= number < count and len(found) == 1}


def decide(votes: Sequence[Vote | None]) -> str | None:
    """None where most votes keep; else the reason most of the others name, first come first served."""
    if 2 * sum(vote is not None and vote.keep for vote in votes) > len(votes):
        return None
    faults = Counter(vote.fault for vote in votes if vote is not None and not vote.keep)
    return f"{GATE}: {faults.most_common(1)[0][0] if faults else 'no_verdict'}"


def _turn(message: Message) -> dict[str, Any]:
    turn: dict[str, Any] = {"role": message.role}
    if message.thought:
        turn["thought"] = message.thought
    if message.tool_calls:
        turn["calls"] = [f"{call.name}({call.arguments})" for call in message.tool_calls]
    if message.content:
        turn["text"] = message.content
    return turn
