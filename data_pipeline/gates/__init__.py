"""Gates: each looks at a finished conversation and gives a reason to drop it, or None.

They read messages, tools and metadata only and share no code with the generator. What a writer declares in the metadata
is held against the text; where it declares nothing the gates fall back to weaker, text-only rules, so that they also
apply to what a language model wrote and to imported data. Public are `GATES`, `all_failures`, `first_failure` and, of
many conversations, `first_failures`.

Metadata that is read (user turns, calls and values counted from 0):

    calls       of every call {"name", "spans": path in the arguments → words}: a text the user said, or {"text",
                "means"} for a declared synonym, {"text": "", "result": value} for a value of an earlier result, {"of",
                "form"} for a value in another form (see gate_units)
    missing     [{"name", "noun"}] required parameters that the first request leaves out; the first answer asks for them
    asked_again [{"name", "noun"}] those that the second question asks for
    nouns       what all parameters of the tool are called: a question names only those that it asks for
    withheld    [{"name", "noun"}] those the user never gives: no call
    looked_up   [{"name", "noun", "call"}] those that a call finds out
    ambiguous   {"name", "text", "readings": [ISO dates]}: a date that must be asked about before the first call
    withdrawn   [{"name", "value", "turn"}] arguments that user turn `turn` takes back
    dropped     user turn that takes its request back: no call follows
    errors      [{"call", "error"}] calls that fail or find nothing
    recalled    user turn that asks for an earlier result again: no call follows
"""

from collections.abc import Callable, Iterator, Sequence

from data_pipeline.gates.answers import answers, calendar
from data_pipeline.gates.conduct import identity, loops, personal_data
from data_pipeline.gates.decisions import changes_of_mind, failures, negatives, slot_question
from data_pipeline.gates.grounding import grounding
from data_pipeline.gates.reading import Reading
from data_pipeline.gates.structure import length, structure
from data_pipeline.gates.thoughts import thoughts
from fcdist.schema.conversation import Conversation

Gate = Callable[[Reading], str | None]
"""None keeps the conversation; a reason drops it. Reasons are counter keys, so no free text."""

GATES: tuple[tuple[str, Gate], ...] = (
    ("structure", structure),
    ("length", length),
    ("negatives", negatives),
    ("slot_question", slot_question),
    ("changes_of_mind", changes_of_mind),
    ("failures", failures),
    ("grounding", grounding),
    ("thoughts", thoughts),
    ("calendar", calendar),
    ("answers", answers),
    ("repetition", loops),
    ("identity", identity),
    ("personal_data", personal_data),
)
"""All gates, the most basic first: later ones rely on `structure`."""
_AT_ONCE = 100
"""Conversations that one gate looks at before the next does; what gates note about them is kept meanwhile."""


def all_failures(gates: Sequence[tuple[str, Gate]], conversation: Conversation) -> Iterator[str]:
    """Yield `gate: reason` of every gate that fails; of a conversation without structure that reason alone."""
    reading = Reading(conversation)
    for name, gate in gates:
        if (reason := gate(reading)) is not None:
            yield f"{name}: {reason}"
            if name == "structure":
                return


def first_failure(gates: Sequence[tuple[str, Gate]], conversation: Conversation) -> str | None:
    """Reason of the first gate that fails, as `gate: reason`; None when all pass."""
    return next(all_failures(gates, conversation), None)


def first_failures(gates: Sequence[tuple[str, Gate]], conversations: Sequence[Conversation]) -> list[str | None]:
    """`first_failure` of each.

    A gate looks at many before the next gate does, so that its code stays in the processor's caches: a sixth faster.
    """
    reasons: list[str | None] = []
    for start in range(0, len(conversations), _AT_ONCE):
        reasons += _refused([Reading(c) for c in conversations[start : start + _AT_ONCE]], gates)
    return reasons


def _refused(readings: Sequence[Reading], gates: Sequence[tuple[str, Gate]]) -> list[str | None]:
    reasons: list[str | None] = [None] * len(readings)
    for name, gate in gates:
        for place, reading in enumerate(readings):
            if reasons[place] is None and (reason := gate(reading)) is not None:
                reasons[place] = f"{name}: {reason}"
    return reasons
