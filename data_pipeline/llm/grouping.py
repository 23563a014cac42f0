"""Which conversations one request can serve."""

import json
from collections.abc import Sequence

from fcdist.schema.conversation import Conversation


def group_by_tools(conversations: Sequence[Conversation], size: int) -> list[list[int]]:
    """Positions in `conversations`, grouped: one tool set and language in a group, at most `size`, in order."""
    groups: list[list[int]] = []
    open_group: dict[str, list[int]] = {}
    for i, conversation in enumerate(conversations):
        key = json.dumps([conversation.language, [tool.to_wire() for tool in conversation.tools]], ensure_ascii=False)
        group = open_group.get(key)
        if group is None or len(group) >= max(size, 1):
            group = open_group[key] = []
            groups.append(group)
        group.append(i)
    return groups
