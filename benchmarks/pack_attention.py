"""Attention over a pack: one causal call a segment (`attention.backend=auto`) against one dense mask, both passes.

    OMP_NUM_THREADS=1 python -m benchmarks.pack_attention --segments 8 --length 250

Prints one JSON line: CPU seconds a layer of both (SmolLM2's heads), measured in turn in one process, and their ratio.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention

from fcdist.config.types import AttentionConfig
from fcdist.data.batch import Segments
from fcdist.model.attention import resolve_backend

HEADS, KEY_HEADS, WIDTH = 9, 3, 64


def timed(attend: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor) -> float:
    begun = time.process_time()
    attend(q, k, v).sum().backward()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--segments", type=int, default=8)
    parser.add_argument("--length", type=int, default=250)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count, length = arguments.segments, arguments.length
    total = count * length
    starts = tuple(range(0, total, length))
    segments = Segments(starts, tuple(s + length for s in starts), (-1,) * count, (0,) * count)
    config = LlamaConfig(
        hidden_size=HEADS * WIDTH, num_attention_heads=HEADS, num_key_value_heads=KEY_HEADS, attention_dropout=0.0
    )
    layer = LlamaAttention(config, layer_idx=0)
    ours = AttentionInterface()[resolve_backend(AttentionConfig(), torch.device("cpu"))]
    number = torch.arange(total) // length
    dense = (number[:, None] == number[None]) & torch.ones(total, total, dtype=torch.bool).tril()

    def packed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return ours(layer, q, k, v, None, scaling=WIDTH**-0.5, segments=segments)[0]

    def masked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        groups = HEADS // KEY_HEADS
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=dense).transpose(1, 2)

    for dtype in (torch.float32, torch.bfloat16):
        shape = (1, HEADS, total, WIDTH)
        q, k, v = (
            torch.randn(1, heads, *shape[2:], dtype=dtype, requires_grad=True)
            for heads in (HEADS, KEY_HEADS, KEY_HEADS)
        )
        torch.testing.assert_close(packed(q, k, v), masked(q, k, v), rtol=2e-2, atol=2e-2)
        spent = [(timed(packed, q, k, v), timed(masked, q, k, v)) for _ in range(arguments.repeats)]
        mine, theirs = (statistics.median(column) for column in zip(*spent, strict=True))
        facts = {"dtype": str(dtype), "segments": count, "length": length, "packed_s": mine, "dense_mask_s": theirs}
        print(json.dumps(facts | {"ratio": theirs / mine}))


if __name__ == "__main__":
    main()
