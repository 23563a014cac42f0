"""Tiny random models and a byte tokenizer, built in code: no files, no network, a second on a laptop.

`model.path=debug` gives them to every verb; the tests run the laws of packing over the families of `tiny_model`.
"""

from typing import Any, Literal, get_args

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

from fcdist.config.seeds import derive_seed
from fcdist.model.adapters import cast_weights, clear_padding_row

TinyKind = Literal["llama", "qwen2", "qwen3", "mistral"]
TINY_KINDS: tuple[TinyKind, ...] = get_args(TinyKind)
SLIDING_WINDOW = 12
"""Window of the tiny mistral, in tokens."""

END_OF_TEXT, TURN_START, TURN_END, PAD = "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"
SPECIAL_TOKENS = (END_OF_TEXT, TURN_START, TURN_END, PAD)
VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + (message['content'] or '') + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def debug_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the 256 bytes and four special tokens, with a small chat template of its own."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*SPECIAL_TOKENS, *alphabet])}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer: PreTrainedTokenizerFast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=backend,
        eos_token=TURN_END,
        pad_token=PAD,
        model_max_length=32768,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_model(
    kind: TinyKind = "llama", *, tied: bool = True, seed: int = 0, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """A random decoder of 2 layers, width 64, 4 query heads on 2 key heads, over the byte vocabulary.

    Args:
        kind: model family; `mistral` attends through a window of SLIDING_WINDOW tokens.
        tied: whether head and input embedding are one matrix.
        seed: fixes the weights; the global random generator is left as it was.
        dtype: of the weights.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed(seed, "debug", kind, tied))
        auto: Any = AutoModelForCausalLM
        model: PreTrainedModel = auto.from_config(_tiny_config(kind, tied), attn_implementation="sdpa")
    cast_weights(model, dtype)
    clear_padding_row(model)
    model.train(False)
    return model


def _tiny_config(kind: TinyKind, tied: bool) -> PretrainedConfig:
    shape: dict[str, Any] = {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 32768,
        "initializer_range": 0.08,
        "tie_word_embeddings": tied,
        "attention_dropout": 0.0,
        "use_cache": True,
        "bos_token_id": None,
        "eos_token_id": SPECIAL_TOKENS.index(TURN_END),
        "pad_token_id": SPECIAL_TOKENS.index(PAD),
    }
    if kind == "mistral":
        return MistralConfig(**shape, sliding_window=SLIDING_WINDOW)
    families: dict[str, type[PretrainedConfig]] = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
    return families[kind](**shape)
