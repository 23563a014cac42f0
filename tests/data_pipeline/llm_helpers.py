"""Runs the language-model teacher against the loopback server."""

from collections import Counter
from pathlib import Path

from llm_server import serving
from pipeline_fakes import FakePlanner, fake_check

from data_pipeline.generate import generate
from data_pipeline.llm.teacher import OpenAITeacher
from data_pipeline.teachers import Task
from fcdist.config.types import Config, GenerateConfig, PriceConfig

TASKS = [Task(i) for i in range(12)]
PRICES = PriceConfig(input=2.0, cached_input=0.5, output=8.0)
PER_MILLION = (2.0, 0.5, 8.0)


def settings(url, **changes):
    defaults = {
        "teacher": "openai",
        "base_url": url,
        "api_key_env": "WORDS_KEY",
        "llm": "words-1",
        "num_conversations": 12,
        "shard_size": 6,
        "conversations_per_tool_set": 4,
        "max_concurrency": 3,
        "max_retries": 2,
        "max_tokens": 1000,
        "batch_poll_s": 0.01,
    }
    return GenerateConfig(**defaults | changes)


def teacher(url, folder, **changes):
    return OpenAITeacher(FakePlanner(0), settings(url, **changes), Path(folder, "llm_cache"), backoff_s=0.001)


def run(server, folder, tasks=TASKS, **changes):
    """Drafts of `tasks`, and the teacher."""
    with serving(server) as url:
        asked = teacher(url, folder, **changes)
        return list(asked.drafts(tasks)), asked


def reasons(drafts):
    return Counter(draft.reason for draft in drafts)


def pipeline(server, folder, **changes):
    """Facts of a whole run."""
    with serving(server) as url:
        return generate(Config(seed=0, generate=settings(url, **changes)), folder, make_llm_teacher, fake_check)


def make_llm_teacher(config, run_dir):
    return OpenAITeacher(FakePlanner(config.seed), config.generate, run_dir / "llm_cache", backoff_s=0.001)


def shard_bytes(folder):
    return {p.name: p.read_bytes() for p in Path(folder, "shards", "function_call").iterdir()}
