"""Values that a schema or a description gives as examples."""

import re
from collections.abc import Mapping
from typing import Any

_LISTED = re.compile(
    r"(?:\be\.?g\.?|\bfor example|\bsuch as|\bi\.e\.|\bexamples?:|\bone of|\boptions?:|\bvalues?:|\beither"
    r"|例如|比如|如|可选值?)"
    r"[,:：]?\s*(?P<list>[^\n]+)",
    re.I,
)
_QUOTED = re.compile(r"[\"'`“‘]([^\"'`“”‘’\n]{1,40})[\"'`”’]")


def examples_in(text: str, node: Mapping[str, Any]) -> list[str]:
    """Values that a schema's `examples` or a description gives: (e.g. "mainnet", "sepolia") → mainnet, sepolia."""
    declared = node.get("examples") or ([node["example"]] if "example" in node else [])
    found = [value for value in declared if isinstance(value, str)] if isinstance(declared, list) else []
    for listed in _LISTED.finditer(text):
        part = re.split(r"\)|\. |\.$|;|。|；|）|\s-\s|, etc|\betc\b", listed["list"])[0]
        quoted = _QUOTED.findall(part)
        found += quoted or [item.strip() for item in re.split(r",|\bor\b|\band\b|、|或|/(?=[a-z])", part)]
    if not found:
        quoted = _QUOTED.findall(text)
        found = quoted if len(quoted) >= 2 or (quoted and len(text) < 80) else []
    clean = [item.strip(" .:：,") for item in found]
    return [
        item for item in dict.fromkeys(clean) if 0 < len(item) <= 40 and len(item.split()) <= 4 and not _is_prose(item)
    ]


def _is_prose(item: str) -> bool:
    return bool(
        re.search(
            r"[{}<>…\n=]|\.\.\.|^(?:the|a|an|all|any|if|to|for|default|optional|none|null|true|false|etc)\b", item, re.I
        )
    )
