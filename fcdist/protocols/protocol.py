"""A protocol is data: how tools, thoughts and calls are written for a model, and read back.

<name>/prelude.jinja            rewrites tools, calls and results into plain messages; empty for `native`
<name>/response_template.json   what `tokenizer.parse_response` reads generated text with (transformers >= 5)
<name>/protocol.json            the grammar recipe: strings around a thought and a call
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from transformers.utils.chat_template_utils import render_jinja_template

from fcdist.errors import ConfigError, RenderError

_FOLDER = Path(__file__).parent
PROTOCOLS: tuple[str, ...] = tuple(sorted(path.parent.name for path in _FOLDER.glob("*/protocol.json")))
"""Names `protocol.name` may take: one folder of data files each."""

_STAND_INS: dict[str, Any] = {
    f"{name}_token": f"<{name}>" for name in ("bos", "eos", "unk", "pad", "sep", "cls", "mask")
}
"""Special tokens a template may ask for while it is probed without its tokenizer."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How tools, thoughts and calls are written for a model, and read back. The same files ship with the model."""

    name: str
    prelude: str
    """Jinja that rewrites tools and calls into plain messages; empty for `native`."""
    response_template: Mapping[str, Any] | None
    """With `{generation_prompt}` and `{stop_tokens}` where a checkpoint's own text goes; None for `native`."""
    recipe: Mapping[str, Any]
    """`thought` {begin, end, after} and `call` {begin, end, separator, name_key, arguments_key}: all a grammar needs.
    `native` has `readers` instead, tried in turn on the checkpoint's own template (see `Renderer.recipe`)."""

    def compose(self, chat_template: str) -> str:
        """The chat template that both training and serving use.

        A template that refuses or drops the system role gets the system prompt inside the first user turn; whether it
        does is found by rendering one. `native` changes nothing.

        Raises:
            RenderError: the checkpoint's template is not valid Jinja.
        """
        if not self.prelude:
            return chat_template
        carried = "true" if carries_system(chat_template) else "false"
        # transformers, vLLM and llama.cpp all trim one newline after a block, so the hand-over adds no character.
        return f"{{%- set fcdist_system_role = {carried} -%}}\n{self.prelude.rstrip()}\n{chat_template}"


def load_protocol(name: str) -> Protocol:
    """Read `fcdist/protocols/<name>/`. Raises ConfigError with the known names."""
    if name not in PROTOCOLS:
        raise ConfigError(f"protocol.name={name!r} is unknown; known: {', '.join(PROTOCOLS)}")
    folder = _FOLDER / name
    template = folder / "response_template.json"
    return Protocol(
        name=name,
        prelude=(folder / "prelude.jinja").read_text(encoding="utf-8"),
        response_template=json.loads(template.read_text(encoding="utf-8")) if template.is_file() else None,
        recipe=json.loads((folder / "protocol.json").read_text(encoding="utf-8")),
    )


def carries_system(chat_template: str) -> bool:
    """Whether a system message survives the template: it is neither refused nor left out.

    Raises:
        RenderError: the template is not valid Jinja.
    """
    messages = [{"role": "system", "content": "SYSTEM-PROBE"}, {"role": "user", "content": "USER-PROBE"}]
    try:
        rendered = render_jinja_template([messages], chat_template=chat_template, **_STAND_INS)[0]
    except jinja2.TemplateSyntaxError as error:
        raise RenderError(f"the checkpoint's chat template is not valid Jinja: line {error.lineno}: {error}") from None
    except (jinja2.TemplateError, TypeError):
        return False
    return "SYSTEM-PROBE" in rendered[0]


def fill_response_template(
    template: Mapping[str, Any], generation_prompt: str, stop_tokens: Sequence[str]
) -> dict[str, Any]:
    """Put a checkpoint's generation prompt and stop tokens into a protocol's response template.

    In values of keys that end in `_pattern` they are escaped; elsewhere `{stop_tokens}` becomes the list of them.
    """
    stops = list(dict.fromkeys(stop_tokens))

    def fill(value: Any, key: str = "") -> Any:
        if isinstance(value, Mapping):
            return {k: fill(v, k) for k, v in value.items()}
        if not isinstance(value, str):
            return value
        if key.endswith("_pattern"):
            return value.replace("{stop_tokens}", "|".join(re.escape(token) for token in stops))
        if key in ("open", "close") and value == "{stop_tokens}":
            return stops
        return generation_prompt if value == "{generation_prompt}" else value

    filled: dict[str, Any] = fill(template)
    if not filled.get("start_anchor", True):  # a template that adds nothing before the answer: it starts at the end
        del filled["start_anchor"]
        filled["start_anchor_pattern"] = r"\Z"
    return filled
