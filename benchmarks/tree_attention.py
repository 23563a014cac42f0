"""Attention over one shared prefix and its branches, forward and backward of one layer, four ways.

    OMP_NUM_THREADS=1 python -m benchmarks.tree_attention --prefix 512 2048 6000 --branches 4 16

- separate: each branch with its own copy of the prefix, transformers' way;
- dense: the pack under one [T, T] mask;
- gather: the pack, keys and values of the prefix gathered for every branch (`attention.backend=sdpa`);
- cascade: the pack, one call a segment, merged by log-sum-exp (`attention.backend=flash`).

SmolLM2's heads, bf16, branches of 100 tokens. Prints one JSON line a row: CPU seconds, measured in turn in one process.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from fcdist.data.batch import Segments
from fcdist.model.attention import attend_flash, attend_reference
from fcdist.model.forest import Layout

HEADS, KEY_HEADS, WIDTH = 9, 3, 64
BRANCH = 100

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def shared(prefix: int, branches: int) -> Segments:
    starts = (0, *(prefix + i * BRANCH for i in range(branches)))
    ends = (prefix, *(start + BRANCH for start in starts[1:]))
    return Segments(starts, ends, (-1, *[0] * branches), (0, *[prefix] * branches))


def dense_mask(segments: Segments) -> Tensor:
    prefix, total = segments.end[0], segments.end[-1]
    number = torch.arange(total).sub(prefix).div(BRANCH, rounding_mode="floor").clamp(min=-1)
    sees = (number[None] == number[:, None]) | (torch.arange(total)[None] < prefix)
    return sees & torch.ones(total, total, dtype=torch.bool).tril()


def row(num_tokens: int, dtype: torch.dtype) -> list[Tensor]:
    """Queries, keys, values [1, H, T, D], in the memory order of a model's projections."""
    heads = (HEADS, KEY_HEADS, KEY_HEADS)
    return [torch.randn(1, num_tokens, h, WIDTH, dtype=dtype).transpose(1, 2).requires_grad_() for h in heads]


def seconds(attend: Attend, qkv: list[Tensor], grad: Tensor) -> float:
    begun = time.process_time()
    torch.autograd.grad(attend(*qkv), qkv, grad)
    return time.process_time() - begun


def measure(prefix: int, branches: int, repeats: int, dtype: torch.dtype) -> dict[str, float]:
    segments = shared(prefix, branches)
    total = segments.end[-1]
    layout, module = Layout(segments, total), nn.Module()
    mask = dense_mask(segments)
    packed, alone = row(total, dtype), row(prefix + BRANCH, dtype)
    grad = torch.randn(1, total, HEADS, WIDTH, dtype=dtype)
    grad_alone = grad[:, : prefix + BRANCH]

    def plain(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).transpose(1, 2)

    def dense(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True).transpose(1, 2)

    def gather(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_reference(module, q, k, v, None, segments=layout)[0]

    def cascade(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attend_flash(module, q, k, v, None, segments=layout)[0]

    ways: dict[str, Attend] = {"dense": dense, "gather": gather, "cascade": cascade}
    with torch.no_grad():
        torch.testing.assert_close(cascade(*packed), dense(*packed), rtol=2e-2, atol=2e-2)
    spent: dict[str, list[float]] = {name: [] for name in ["separate", *ways]}
    for _ in range(repeats):
        spent["separate"].append(branches * seconds(plain, alone, grad_alone))  # all branches cost the same
        for name, attend in ways.items():
            spent[name].append(seconds(attend, packed, grad))
    return {name: statistics.median(values) for name, values in spent.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", type=int, nargs="+", default=[512, 2048, 6000])
    parser.add_argument("--branches", type=int, nargs="+", default=[4, 16])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for prefix in arguments.prefix:
        for branches in arguments.branches:
            spent = measure(prefix, branches, arguments.repeats, getattr(torch, arguments.dtype))
            ratios = {
                f"{name}/cascade": round(value / spent["cascade"], 2)
                for name, value in spent.items()
                if name != "cascade"
            }
            facts = {"dtype": arguments.dtype, "prefix": prefix, "branches": branches}
            print(json.dumps(facts | {k: round(v, 4) for k, v in spent.items()} | ratios), flush=True)


if __name__ == "__main__":
    main()
