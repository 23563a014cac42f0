"""Ways in which a good conversation can be spoilt, each in one place and for one known reason."""

from benchmarks.corruptions import calls, words
from benchmarks.corruptions.editing import Corruption

__all__ = ["CORRUPTIONS", "Corruption"]

CORRUPTIONS: dict[str, Corruption] = {
    "wrong date": calls.wrong_date,
    "wrong time": calls.wrong_time,
    "wrong number": calls.wrong_number,
    "unit off": calls.unit_off,
    "wrong name": calls.wrong_name,
    "invented id": calls.invented_identifier,
    "swapped arguments": calls.swapped_arguments,
    "missing argument": calls.missing_argument,
    "unasked argument": calls.extra_argument,
    "unknown tool": calls.unknown_tool,
    "dropped tool": calls.dropped_tool,
    "call in a negative": calls.call_in_negative,
    "question skipped": calls.question_skipped,
    "question for another slot": words.question_for_other_slot,
    "question for a given slot": words.question_for_given_slot,
    "answer contradicts result": words.answer_contradicts,
    "invented fact in answer": words.invented_fact,
    "result denied": words.result_denied,
    "other tool in thought": words.thought_names_other_tool,
    "other value in thought": words.thought_tells_other_value,
    "result changed": words.result_changed,
    "withdrawn value used": calls.withdrawn_value_used,
    "success after error": words.success_after_error,
    "needless call": calls.needless_call,
    "repeated exchange": words.repeated_turn,
    "repeated call": calls.repeated_call,
    "invented contact": words.invented_contact,
    "card number": words.card_number,
    "foreign identity": words.other_identity,
    "wrong weekday": words.wrong_weekday,
}
