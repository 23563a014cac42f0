"""Replay: the calls of a row, executed again in their order, give the results that the row holds.

The one check that needs a simulator. It takes one and knows nothing else of the generator; rows without a simulator
(free language-model dialogues, imported data) do without it. It sees what a model will see, the JSON text of the
calls, so that renamed, moved and rewritten arguments are checked with it.
"""

import json
from collections.abc import Callable, Iterable
from itertools import zip_longest
from typing import Any

from fcdist.schema.conversation import Conversation
from fcdist.schema.json_text import json_text

Executor = Callable[[Conversation], Iterable[Any]]
"""Executes the calls of a conversation on a new world, in order. May raise anything where it cannot."""
_NONE = object()


def replays(conversation: Conversation, execute: Executor) -> str | None:
    """Reason why the results are not those of the calls; None if they are."""
    recorded = [message.content for message in conversation.messages if message.role == "tool"]
    if not recorded:
        return None
    try:
        for text, again in zip_longest(recorded, execute(conversation), fillvalue=_NONE):
            if again is _NONE or not isinstance(text, str):
                return "replay: result_differs"
            written = json_text(again)
            if text != written and json.loads(text) != json.loads(written):
                return "replay: result_differs"
    except Exception:  # whatever goes wrong in a simulator, the row is not what it says
        return "replay: not_executable"
    return None
