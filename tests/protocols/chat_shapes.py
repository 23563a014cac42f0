"""Small chat templates of the shapes that checkpoints in the field have, written for these tests."""

from dataclasses import dataclass

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from fcdist.model.debug import debug_tokenizer


@dataclass(frozen=True)
class Shape:
    """A way to write chats."""

    template: str
    tokens: tuple[str, ...]
    """Special tokens it needs."""
    end: str
    """The token that closes an answer."""
    keeps_past: bool = True
    """Whether a later prompt repeats what was written before."""
    takes_tools: bool = False


# A default system prompt where none is given (SmolLM2, Qwen2.5).
CHATML = Shape(
    "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nDefault prompt.<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
)
# Headers around the role, content trimmed (Llama 3).
HEADER = Shape(
    "{{ bos_token }}{% for m in messages %}"
    "{{ '<|header|>' + m['role'] + '<|body|>\n\n' + m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|header|>assistant<|body|>\n\n' }}{% endif %}",
    ("<|header|>", "<|body|>", "<|eot|>"),
    "<|eot|>",
)
# No system role, strict alternation, nothing added on request (Mistral, Llama 2).
INST = Shape(
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('user and assistant must alternate') }}"
    "{% endif %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}",
    ("[INST]", "[/INST]"),
    "<|im_end|>",
)
# Another word for assistant, system refused, content trimmed (Gemma).
MODEL_ROLE = Shape(
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<turn>' + role + '\n' + m.content | trim + '</turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<turn>model\n' }}{% endif %}",
    ("<turn>", "</turn>"),
    "</turn>",
)
# Nothing closes an answer but the opener of the next turn (GLM).
OPENER = Shape(
    "{{ '<|gmask|>' }}{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    ("<|gmask|>", "<|system|>", "<|user|>", "<|assistant|>"),
    "<|user|>",
)
# Bare reserved tokens, the system prompt without a header (Baichuan).
RESERVED = Shape(
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<reserved_106>' + m.content }}{% else %}{{ '<reserved_107>' + m.content + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<reserved_107>' }}{% endif %}",
    ("<reserved_106>", "<reserved_107>"),
    "<|im_end|>",
)
# Forgets the reasoning of all answers but the last (Qwen3, DeepSeek-R1).
FORGETFUL = Shape(
    "{% for m in messages %}{% set text = m.content %}"
    "{% if m.role == 'assistant' and not loop.last %}"
    "{% set text = text.split('</think>')[-1].split('</thought>')[-1].lstrip('\n') %}{% endif %}"
    "{{ '<|im_start|>' + m.role + '\n' + text + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
    keeps_past=False,
)
# The system prompt inside the last user turn (some Mistral templates).
SYSTEM_LAST = Shape(
    "{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% set turns = messages[1:] if system else messages %}"
    "{% for m in turns %}{% if m.role == 'user' %}"
    "{% set last = turns[loop.index0 + 1:] | selectattr('role', 'equalto', 'user') | list | length == 0 %}"
    "{{ '[INST] ' + (system + '\n\n' if last and system else '') + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content + eos_token }}{% endif %}{% endfor %}",
    ("[INST]", "[/INST]"),
    "<|im_end|>",
    keeps_past=False,
)
# Tools in the system prompt, calls in tags (Qwen2.5, Hermes).
TOOLS_TAGGED = Shape(
    "{% if tools %}{{ '<|im_start|>system\nTools:' }}{% for t in tools %}{{ '\n' + t | tojson }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.reasoning_content %}{{ '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls %}{{ '\n' if m.content or not loop.first }}{{ '<tool_call>\n' }}"
    '{{ \'{"name": "\' + c.function.name + \'", "arguments": \' + c.function.arguments | tojson + "}\n</tool_call>" }}'
    "{% endfor %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
    "<|im_end|>",
    takes_tools=True,
)
# One bare JSON object with `parameters` (Llama 3.1).
TOOLS_BARE = Shape(
    "{{ bos_token }}{% if tools %}{{ '<|header|>system<|body|>\n\n' + tools | tojson + '<|eot|>' }}{% endif %}"
    "{% for m in messages %}{{ '<|header|>' + m.role + '<|body|>\n\n' }}{% if m.tool_calls %}"
    "{% if m.tool_calls | length > 1 %}{{ raise_exception('one call at a time') }}{% endif %}"
    "{% set f = m.tool_calls[0].function %}"
    '{{ \'{"name": "\' + f.name + \'", "parameters": \' + f.arguments | tojson + "}" }}'
    "{% else %}{{ m.content | trim }}{% endif %}{{ '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|header|>assistant<|body|>\n\n' }}{% endif %}",
    ("<|header|>", "<|body|>", "<|eot|>"),
    "<|eot|>",
    takes_tools=True,
)
# A marker token and a list of calls (Mistral).
TOOLS_LIST = Shape(
    "{% if tools %}{{ '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{% endif %}"
    "{% for m in messages %}{% if m.role == 'assistant' %}{% if m.tool_calls %}{{ '[TOOL_CALLS] [' }}"
    '{% for c in m.tool_calls %}{{ \'{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson + '}' + ('' if loop.last else ', ') }}{% endfor %}{{ ']' + eos_token }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}"
    "{% elif m.role == 'tool' %}{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}"
    "{% else %}{{ '[INST] ' + m.content + '[/INST]' }}{% endif %}{% endfor %}",
    ("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]"),
    "<|im_end|>",
    takes_tools=True,
)
# Calls end in another token than answers, results open with their own (GLM).
TOOLS_OPENER = Shape(
    "{% if tools %}{{ '<|system|>\n' }}{% for t in tools %}{{ t | tojson + '\n' }}{% endfor %}{% endif %}"
    "{% for m in messages %}{{ '<|' + ('observation' if m.role == 'tool' else m.role) + '|>\n' + (m.content or '') }}"
    "{% for c in m.tool_calls %}{{ '<tool_call>\n{\"name\": ' + c.function.name | tojson }}"
    "{{ ', \"arguments\": ' + c.function.arguments | tojson + '}\n</tool_call>' }}{{ '' if loop.last else '\n' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>"),
    "<|user|>",
    takes_tools=True,
)
SHAPES = {name.lower(): value for name, value in list(globals().items()) if isinstance(value, Shape)}


def dressed(tokenizer: PreTrainedTokenizerFast, shape: Shape) -> PreTrainedTokenizerFast:
    """The tokenizer with the template and special tokens of a shape."""
    missing = [token for token in shape.tokens if token not in tokenizer.get_vocab()]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in missing], special_tokens=True)
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.eos_token
    tokenizer.chat_template = shape.template
    return tokenizer


def byte_tokenizer(shape: Shape) -> PreTrainedTokenizerFast:
    """The debug tokenizer of 256 bytes, dressed."""
    return dressed(debug_tokenizer(), shape)
