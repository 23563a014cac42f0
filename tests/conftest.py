"""Settings of the whole suite."""

import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--min-tests", type=int, default=0, help="fail if fewer tests than this are collected")


def pytest_collection_finish(session: pytest.Session) -> None:
    least = session.config.getoption("--min-tests")
    if len(session.items) < least:
        raise pytest.UsageError(f"{len(session.items)} tests collected, at least {least} expected: did some vanish?")
