"""Grammars that hold an answer to the offered tools: structural tags for xgrammar, written from a protocol's recipe.

Two strengths:

- triggered (`required=False`): free text, thoughts included, until the protocol's call mark appears; from there on only
  a call of an offered tool whose arguments fit its schema.
- required (`required=True`): exactly one call and nothing else, as a server does for `tool_choice: required` without
  parallel calls. A model held so calls on every prompt: it cannot decline, nor call twice, by construction. (Left to
  decide on a further call, a model that was never tuned on the protocol repeats its first until the token limit.)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xgrammar
from transformers import PreTrainedTokenizerBase

from fcdist.errors import ConfigError
from fcdist.schema.conversation import Tool

MAX_ITEMS = 16
"""Items of an array whose schema sets no bound; small models repeat an item until the token limit otherwise."""
MAX_ABSOLUTE = 10**12
"""Bound of numbers whose schema sets none; otherwise digits run to the token limit."""
MAX_WHITESPACE = 1
"""White space between JSON tokens."""
UNCHECKED = ("default", "examples", "example", "title", "description", "$schema", "$id", "$comment", "format")
"""Keywords that say nothing a grammar could hold, or that would only narrow text a reader accepts anyway."""


@dataclass(frozen=True, slots=True)
class CallMarks:
    """How a call is written: `begin` {`name_key`: name, `arguments_key`: object} `end`."""

    begin: str
    end: str
    name_key: str
    arguments_key: str

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> "CallMarks":
        """Read them from a protocol's recipe. Raises ConfigError if it has none."""
        call = recipe.get("call")
        if not isinstance(call, Mapping) or not call.get("begin"):
            raise ConfigError(
                "this protocol and chat template give no recipe for calls, so answers cannot be held to a grammar: "
                "leave base_grammar and tuned_grammar out of evaluate.rows, or use protocol.name=text or tagged"
            )
        return cls(call["begin"], call["end"], call["name_key"], call["arguments_key"])


class GrammarCompiler:
    """Compiles tool lists for one tokenizer and protocol, each once.

    Args:
        tokenizer: its vocabulary is what masks speak of.
        recipe: a protocol's, or a renderer's; its `call` names the strings around a call and its keys.
        stop_token_ids: end an answer; allowed wherever the grammar is complete.
        vocab_size: width of the model's logits if that is more than the tokenizer's vocabulary.

    Raises:
        ConfigError: the recipe has no calls.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        recipe: Mapping[str, Any],
        stop_token_ids: Sequence[int] = (),
        vocab_size: int | None = None,
    ) -> None:
        self._marks = CallMarks.from_recipe(recipe)
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=vocab_size, stop_token_ids=list(stop_token_ids) or None
        )
        self._compiler = xgrammar.GrammarCompiler(info, max_threads=1)
        self._cache: dict[str, xgrammar.CompiledGrammar | None] = {}
        self.failures: dict[str, str] = {}
        """Names of the tools of a list that did not compile → the reason. Its prompts are decoded free."""

    def compile(self, tools: Sequence[Tool], required: bool = False) -> xgrammar.CompiledGrammar | None:
        """Grammar of answers to a prompt that offers `tools`; None without tools or if xgrammar refuses a schema."""
        if not tools:
            return None
        structure = structural_tag(tools, self._marks, required)
        key = json.dumps(structure)
        if key not in self._cache:
            try:
                self._cache[key] = self._compiler.compile_structural_tag(structure)
            except (RuntimeError, ValueError) as error:
                self._cache[key] = None
                self.failures[", ".join(tool.name for tool in tools)] = str(error).strip().splitlines()[-1]
        return self._cache[key]


def structural_tag(tools: Sequence[Tool], marks: CallMarks, required: bool) -> dict[str, Any]:
    """The structural tag of a tool list, as JSON; for `required` see the module's docstring."""
    name_key, arguments_key = json.dumps(marks.name_key), json.dumps(marks.arguments_key)
    tags = [
        {
            "type": "tag",
            "begin": f"{marks.begin}{{{name_key}: {json.dumps(tool.name, ensure_ascii=False)}, {arguments_key}: ",
            "content": {
                "type": "json_schema",
                "json_schema": closed_schema(tool.parameters, top=True),
                "max_whitespace_cnt": MAX_WHITESPACE,
            },
            "end": f"}}{marks.end}",
        }
        for tool in tools
    ]
    content: dict[str, Any]
    if required:
        content = {"type": "or", "elements": tags} if len(tags) > 1 else tags[0]
    else:
        # xgrammar's triggers see text, not tokens: white space around the mark belongs to the free text.
        content = {"type": "triggered_tags", "triggers": [marks.begin.rstrip()], "tags": tags}
    return {"type": "structural_tag", "format": content}


def closed_schema(schema: Mapping[str, Any], top: bool = False) -> dict[str, Any]:
    """`schema` without room for what it does not name, and with bounds where it sets none.

    Args:
        schema: JSON Schema.
        top: True for a call's arguments, which never have unnamed keys; below that, an object without `properties` is
            free form.
    """
    closed: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions", "patternProperties") and isinstance(value, Mapping):
            closed[key] = {name: closed_schema(item) for name, item in value.items() if isinstance(item, Mapping)}
        elif key in ("items", "additionalProperties", "not") and isinstance(value, Mapping):
            closed[key] = closed_schema(value)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems") and isinstance(value, Sequence):
            closed[key] = [closed_schema(item) for item in value if isinstance(item, Mapping)]
        elif key not in UNCHECKED:
            closed[key] = value
    if top:
        closed.setdefault("type", "object")
        closed.setdefault("properties", {})
    if "properties" in closed:
        closed.setdefault("additionalProperties", False)
    if isinstance(closed.get("required"), list) and isinstance(closed.get("properties"), Mapping):
        closed["required"] = [name for name in closed["required"] if name in closed["properties"]]
    if closed.get("type") == "array":
        closed.setdefault("maxItems", max(MAX_ITEMS, closed.get("minItems", 0)))
    if closed.get("type") in ("integer", "number") and not {"enum", "const"} & closed.keys():
        if "exclusiveMinimum" not in closed:
            closed.setdefault("minimum", -MAX_ABSOLUTE)
        if "exclusiveMaximum" not in closed:
            closed.setdefault("maximum", MAX_ABSOLUTE)
    return closed
