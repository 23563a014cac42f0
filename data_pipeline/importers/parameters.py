"""From one parameter of an imported tool to a slot: what its values are, and how a user says them."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from data_pipeline.catalogue import Param
from data_pipeline.importers import samplers
from data_pipeline.importers.lexicon import noun_en, noun_zh
from data_pipeline.importers.raw import RefusedError, words_of
from data_pipeline.importers.roles import COINS, Setting, Slot, phrases_of, role_of, slot_of_role
from data_pipeline.importers.scalars import choice_slot, flag_slot, number_slot
from data_pipeline.importers.schemas import MAX_DEPTH, settle
from data_pipeline.importers.strings import text_slot
from data_pipeline.slots import Spec

_SECRET = re.compile(
    r"(?:.*_)?(?:password|passwd|pwd|secret|api_?key|apikey|access_key|private_key|secret_key|credentials?|cvv|ssn"
    r"|mnemonic|seed_phrase|passphrase|authorization|(?:access|auth|api|bearer|session|refresh|id)_token|cookies?|otp)"
)
_INNER = re.compile(
    r"(?:.*_)?(?:thought|thoughts|reasoning|rationale|thinking|call_benefit|random_string|dummy)(?:_.*)?"
)
_COUNTED = (
    "people",
    "guests",
    "adults",
    "children",
    "infants",
    "pets",
    "passengers",
    "seats",
    "tickets",
    "rooms",
    "nights",
)
_NOUN_BREAKERS = re.compile(r"[{}]")


def parameter(key: str, name: str, schema: Any, required: bool, setting: Setting) -> Param:
    """The parameter `name` as a slot.

    Raises:
        RefusedError: no value of it can be said by a user and served.
    """
    node = settle(schema)
    slot = _slot(name, node, setting, 0)
    noun, chinese = _nouns(name, node, setting)
    return Param(
        key=key,
        spec=slot.spec,
        noun=noun,
        noun_zh=chinese,
        names=(name,),
        required=required,
        phrases_en=slot.en,
        phrases_zh=slot.zh,
        default=node.get("default"),
    )


def _nouns(name: str, node: Mapping[str, Any], setting: Setting) -> tuple[str, str]:
    text = str(node.get("description") or "")
    first = re.split(r"[.,:;(\n]", text.strip())[0].strip()
    noun = noun_en(name, setting.owner)
    if noun in _COUNTED and node["type"] in ("integer", "number"):
        noun = f"number of {noun}"
    if (len(name) == 1 or not noun) and first.isascii() and 0 < len(first.split()) <= 4:
        noun = first[0].lower() + first[1:] if first[1:2].islower() else first
        noun = re.sub(r"^(?:the|a|an) ", "", noun)
    chinese = noun_zh(name, text, setting.owner)
    return _NOUN_BREAKERS.sub("", noun or name), _NOUN_BREAKERS.sub("", chinese or noun or name)


def _slot(name: str, node: Mapping[str, Any], setting: Setting, depth: int) -> Slot:
    snake = "_".join(words_of(name))
    if _SECRET.fullmatch(snake):
        raise RefusedError("asks_for_a_secret", f"{name}: conversations should not teach users to type secrets")
    if snake.split("_")[-1] == "token" and not COINS & setting.about:
        raise RefusedError("asks_for_a_secret", f"{name}: nothing tells that it is a coin, so it may open an account")
    if _INNER.fullmatch(snake):
        raise RefusedError("written_by_the_model", f"{name} holds the model's own thoughts or nothing; no user says it")
    kind = node["type"]
    if kind == "boolean":
        return flag_slot(snake, node)
    if "enum" in node:
        return choice_slot(name, node["enum"], setting)
    if kind in ("integer", "number"):
        return number_slot(snake, node, setting)
    if kind == "string":
        return text_slot(name, snake, node, setting)
    if depth >= MAX_DEPTH - 1:
        raise RefusedError("too_deep", f"{name} nests more than {MAX_DEPTH - 1} levels; no sentence can ask for that")
    return _array(name, snake, node, setting, depth) if kind == "array" else _object(name, node, setting, depth)


def _array(name: str, snake: str, node: Mapping[str, Any], setting: Setting, depth: int) -> Slot:
    items = node.get("items")
    if not isinstance(items, Mapping) or "prefixItems" in node:
        raise RefusedError("items_unknown", f"{name} does not say what its items are; add `items`")
    inner_node = settle(items, depth + 1)
    if not inner_node.get("description") and node.get("description"):
        inner_node = {**inner_node, "description": node["description"]}
    if inner_node["type"] == "array":
        raise RefusedError("too_deep", f"{name} is a list of lists; no sentence can ask for that")
    role = (
        role_of(snake, "array")
        if inner_node["type"] == "string" and not {"enum", "pattern"} & set(inner_node)
        else None
    )
    inner = slot_of_role(role, inner_node) if role else _slot(_singular(name), inner_node, setting, depth + 1)
    low = max(int(node.get("minItems", 1)), 1)
    high = min(int(node.get("maxItems", max(3, low))), max(3, low))
    if low > high or low > 6:
        raise RefusedError("too_many_items", f"{name} needs {low} to {high} items")
    kinds = {"object": "objects", "integer": "ints", "number": "nums"}
    if inner.spec["t"] == "enum" and "enum" in inner_node:
        high = min(high, len(inner.spec["values"]))
        low = min(low, high)
    spec = {"t": kinds.get(inner_node["type"], "strs"), "draw": samplers.DrawList(inner.spec, low, high)}
    if role and role.get("en"):
        return Slot(spec, *phrases_of(role))
    noun, chinese = noun_en(name, setting.owner), noun_zh(name, "", setting.owner)
    return Slot(
        spec,
        (f"with {noun} {{}}", f"with the {noun} {{}}", f"({noun}: {{}})"),
        (f"{chinese}是{{}}", f"{chinese}有{{}}", f"{chinese}为{{}}"),
    )


def _singular(name: str) -> str:
    return name[:-1] if name.endswith("s") and not name.endswith(("ss", "us")) else name


def _object(name: str, node: Mapping[str, Any], setting: Setting, depth: int) -> Slot:
    noun, chinese = noun_en(name, setting.owner), noun_zh(name, "", setting.owner)
    phrases = (
        (f"with {noun} {{}}", f"({noun}: {{}})", f"with this {noun}: {{}}"),
        (f"{chinese}为{{}}", f"{chinese}是{{}}"),
    )
    properties = node.get("properties") or {}
    if not properties:
        extra = node.get("additionalProperties", True)
        if extra is False or (isinstance(extra, Mapping) and extra.get("type", "string") != "string"):
            raise RefusedError("open_object", f"{name} is an object of undeclared fields; declare `properties`")
        return Slot({"t": "object", "draw": samplers.draw_pairs}, *phrases)
    needed = set(node.get("required") or ())
    fields: list[tuple[str, str, str, Spec, bool]] = []
    for key, schema in properties.items():
        try:
            inner_node = settle(schema, depth + 1)
            inner = _slot(key, inner_node, replace(setting, owner=_singular(name.lower())), depth + 1)
        except RefusedError as error:
            if key in needed:
                raise RefusedError(error.reason, f"{name}.{error.detail}") from None
            continue
        fields.append((key, *_nouns(key, inner_node, setting), inner.spec, key in needed))
    if not fields or needed - {field[0] for field in fields}:
        raise RefusedError("open_object", f"{name} has no field that a user could name")
    return Slot({"t": "object", "draw": samplers.DrawGroup(tuple(fields))}, *phrases)
