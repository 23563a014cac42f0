"""Head and cross-entropy on target rows, forward and backward, with a frozen head as under LoRA.

    OMP_NUM_THREADS=1 python -m benchmarks.target_head --targets 640

- whole: logits of all targets at once, losses in fp32 (what fcdist does up to HEAD_ELEMENTS logits);
- pieces: 128 targets at a time, computed again in the backward (what it does above that);
- torch: `torch.nn.functional.linear_cross_entropy`, chunked, one loss a target.

SmolLM2's head, bf16. Prints one JSON line each: CPU seconds, error of the losses and of the gradient against fp64.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fcdist.training.loss import head_losses, token_losses

VOCAB, WIDTH, PIECE = 49152, 576, 128


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--targets", type=int, default=640)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    head = nn.Linear(WIDTH, VOCAB, bias=False).bfloat16().requires_grad_(False)
    hidden = torch.randn(arguments.targets, WIDTH).bfloat16()
    targets, weights = torch.randint(VOCAB, (arguments.targets,)), torch.rand(arguments.targets)
    exact = hidden.double().requires_grad_()
    expected = functional.cross_entropy(exact @ head.weight.double().T, targets, reduction="none")
    (expected * weights.double()).sum().backward()
    chunked = nn.LinearCrossEntropyOptions()
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "whole": lambda rows: token_losses(head(rows), targets),
        "pieces": lambda rows: head_losses(head, rows, targets, PIECE),
        "torch": lambda rows: functional.linear_cross_entropy(
            rows, head.weight, targets, reduction="none", options=chunked
        ),
    }
    for name, losses_of in ways.items():
        spent = []
        for _ in range(arguments.repeats):
            rows = hidden.clone().requires_grad_()
            begun = time.process_time()
            losses = losses_of(rows)
            (losses * weights).sum().backward()
            spent.append(time.process_time() - begun)
        assert rows.grad is not None and exact.grad is not None
        facts = {
            "way": name,
            "cpu_s": round(statistics.median(spent), 3),
            "loss_error": float((losses.double() - expected).abs().max()),
            "gradient_error": float((rows.grad.double() - exact.grad).norm() / exact.grad.norm()),
        }
        print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
