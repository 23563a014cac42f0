"""Writes one conversation: plan, execution on the world, and words, all from one random stream."""

from collections.abc import Callable, Mapping

from data_pipeline.dialogues.chain import write_chain
from data_pipeline.dialogues.correction import write_correction
from data_pipeline.dialogues.draft import Draft, RepetitionError
from data_pipeline.dialogues.follow_up import write_follow_up
from data_pipeline.dialogues.negative import write_negative
from data_pipeline.dialogues.parallel import write_parallel
from data_pipeline.dialogues.recovery import write_recovery
from data_pipeline.dialogues.requests import write_date, write_nested, write_single
from data_pipeline.dialogues.slot_filling import write_slot_filling

__all__ = ["Draft", "RepetitionError", "write"]

_WRITERS: Mapping[str, Callable[[Draft], None]] = {
    "single": write_single,
    "negative": write_negative,
    "slot_filling": write_slot_filling,
    "nested": write_nested,
    "date": write_date,
    "parallel": write_parallel,
    "chain": write_chain,
    "follow_up": write_follow_up,
    "correction": write_correction,
    "recovery": write_recovery,
}


def write(category: str, draft: Draft) -> None:
    """Write a conversation of `category` into `draft`. Raises RepetitionError where it has to be drawn anew."""
    _WRITERS[category](draft)
