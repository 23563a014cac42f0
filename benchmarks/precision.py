"""What a CPU gets done in bf16 and in fp32: `python -m benchmarks.precision`; why `train.precision=auto` looks first.

Products of SmolLM2's shapes (rows of 2,048 tokens, 576 to 1,536 wide) on one thread.
"""

import argparse
import json
import time

import torch

from fcdist.model.precision import DTYPES, multiplies_bf16

TOKENS, WIDTH, INNER = 2048, 576, 1536


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each precision")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts: dict[str, object] = {"has_bf16": multiplies_bf16("cpu"), "cpu": torch.backends.cpu.get_cpu_capability()}
    for name, dtype in DTYPES.items():
        facts[f"{name}_gflops"] = round(gflops(dtype, arguments.seconds), 1)
    print(json.dumps(facts), flush=True)


def gflops(dtype: torch.dtype, seconds: float) -> float:
    """1e9 operations a CPU second of one matrix product, repeated for about `seconds`."""
    rows, weight = torch.randn(TOKENS, WIDTH).to(dtype), torch.randn(WIDTH, INNER).to(dtype)
    rows @ weight
    begun, count = time.process_time(), 0
    while time.process_time() - begun < seconds:
        rows @ weight
        count += 1
    return count * 2 * TOKENS * WIDTH * INNER / (time.process_time() - begun) / 1e9


if __name__ == "__main__":
    main()
