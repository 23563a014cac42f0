"""General chat written by the untuned model itself, as shards: `python -m fcdist.replay RUN`."""

import argparse
import dataclasses
import hashlib
import json
import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import PreTrainedTokenizerBase

from fcdist.config.entry import entry
from fcdist.config.mapping import to_mapping
from fcdist.config.run_folder import general_dir
from fcdist.config.types import Config, ReplayConfig
from fcdist.data.chat_filters import distinct_ngrams, opening
from fcdist.errors import GenerationError
from fcdist.evaluation.batching import ProgressBar
from fcdist.evaluation.self_chat import ChatShape, ModelWriter, Outcome, SelfChat
from fcdist.evaluation.server_writer import ServerWriter
from fcdist.model.precision import dtype_of, resolve_precision
from fcdist.model.weights import load_model, load_tokenizer
from fcdist.schema.conversation import Conversation
from fcdist.schema.shards import MANIFEST, ShardWriter, write_manifest

VERSION = 2
"""Raise when the same settings give other conversations, so that old folders are not taken for new ones."""
MIN_ROUND = 64
"""Fewest user turns of a round, where the batch allows."""
WHERE = ("base_url", "api_key_env", "llm", "max_concurrency")
"""Settings of `replay` that say where the model runs, not what it is asked."""
PATIENCE = 3
"""Rounds without one kept conversation after which the model is taken to be unable."""


@dataclasses.dataclass(slots=True)
class Collected:
    """What the rounds gave."""

    kept: list[Conversation] = dataclasses.field(default_factory=list)
    rejected: list[Outcome] = dataclasses.field(default_factory=list)
    rounds: int = 0
    seconds: float = 0.0
    in_time: bool = True
    """False where replay.max_minutes ended the work before all conversations were there."""

    def reasons(self) -> dict[str, int]:
        """Reason → rejected attempts, most frequent first."""
        return dict(Counter(outcome.reason or "" for outcome in self.rejected).most_common())

    def facts(self) -> dict[str, Any]:
        """Counts and variety, for the manifest and the closing lines."""
        asked = [m.content or "" for c in self.kept for m in c.messages if m.role == "user"]
        said = [m.content or "" for c in self.kept for m in c.messages if m.role == "assistant"]
        attempts = len(self.kept) + len(self.rejected)
        return {
            "attempts": attempts,
            "kept": len(self.kept),
            "yield": round(len(self.kept) / attempts, 4) if attempts else 0.0,
            "rejected": self.reasons(),
            "languages": dict(Counter(c.language for c in self.kept)),
            "second_turns": sum(sum(m.role == "user" for m in c.messages) > 1 for c in self.kept),
            "distinct_openings": len({opening(text) for text in asked}),
            "distinct_2_user": round(distinct_ngrams(asked), 4),
            "distinct_2_answer": round(distinct_ngrams(said), 4),
            "finished_in_time": self.in_time,
        }


def collect(chat: SelfChat, cfg: ReplayConfig, started: float) -> Collected:
    """Run rounds until enough is kept or the time is up.

    Args:
        chat: writes the rounds.
        cfg: how many, and for how long.
        started: `time.monotonic()` from which `max_minutes` counts.

    Raises:
        GenerationError: several rounds in a row gave nothing, or the time was up before anything was kept.
    """
    found, barren, slowest = Collected(), 0, 0.0
    begun = time.monotonic()
    with ProgressBar("general chat", cfg.num_conversations) as advance:
        while len(found.kept) < cfg.num_conversations:
            round_begun, before = time.monotonic(), len(found.kept)
            size = _round_size(found, cfg)
            if cfg.max_minutes and found.rounds:
                fitting = int((60 * cfg.max_minutes - (round_begun - started)) / slowest)
                if fitting < min(MIN_ROUND, size):
                    found.in_time = False
                    break
                size = min(size, fitting)
            for outcome in chat.round(size):
                if outcome.reason is not None:
                    found.rejected.append(outcome)
                elif len(found.kept) < cfg.num_conversations:
                    number = len(found.kept)
                    found.kept.append(dataclasses.replace(outcome.conversation, id=f"replay-{number:06d}"))
            found.rounds += 1
            slowest = max(slowest, (time.monotonic() - round_begun) / size)  # seconds of a user turn and its answers
            advance(len(found.kept) - before)
            barren = barren + 1 if len(found.kept) == before else 0
            if barren == PATIENCE:
                break
    found.seconds = time.monotonic() - begun
    if barren == PATIENCE or not found.kept:
        reasons = ", ".join(f"{reason} {count}" for reason, count in found.reasons().items())
        raise GenerationError(
            f"the model wrote nothing usable in {found.rounds} rounds ({reasons}); raise replay.max_user_tokens, "
            "replay.max_answer_tokens or replay.max_minutes, or take general chat from a file (data.sources)"
        )
    return found


def publish(
    folder: Path, found: Collected, settings: dict[str, Any], shard_size: int, num_tokens: int
) -> dict[str, Any]:
    """Write the shards, the rejects beside the first one, and the manifest last. Returns the facts."""
    shards: dict[str, dict[str, Any]] = {}
    for number, start in enumerate(range(0, len(found.kept), shard_size)):
        name = f"shard-{number:05d}.jsonl"
        with ShardWriter(folder / name) as shard:
            for conversation in found.kept[start : start + shard_size]:
                shard.write(conversation)
        shards[name] = {"counts": dict(shard.counts)}
    with ShardWriter(folder / "shard-00000.rejected.jsonl") as rejects:
        for outcome in found.rejected:
            rejects.write(outcome.conversation, reason=outcome.reason)
    speed = {"tokens": num_tokens, "seconds": round(found.seconds, 1)}
    facts = {**found.facts(), **speed, "tokens_per_s": round(num_tokens / max(found.seconds, 1e-9), 1)}
    write_manifest(folder, shards, teacher="self", config_hash=settings_hash(settings), settings=settings, facts=facts)
    return facts


def replay_settings(config: Config) -> dict[str, Any]:
    """What the conversations depend on."""
    return {
        "version": VERSION,
        "model": to_mapping(config.model),
        "replay": {key: value for key, value in to_mapping(config.replay).items() if key not in WHERE},
        "seed": config.seed,
        "precision": config.train.precision,
    }


def settings_hash(settings: dict[str, Any]) -> str:
    """Short digest of `replay_settings`."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def is_finished(folder: Path, settings: dict[str, Any]) -> bool:
    """Whether `folder` already holds what these settings give.

    Raises:
        GenerationError: it holds a finished set of other settings; the message names the first that differs.
    """
    manifest = folder / MANIFEST
    if not manifest.is_file():
        return False
    try:
        written = json.loads(manifest.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise GenerationError(f"{manifest}: not JSON ({error}); delete the folder to write it again") from None
    if written.get("config_hash") == settings_hash(settings):
        return True
    difference = _first_difference(written.get("settings") or {}, settings)
    raise GenerationError(
        f"{folder} holds general chat written with other settings ({difference}); delete the folder to write it again, "
        "or choose another run_dir"
    )


def body(config: Config, run_dir: Path, arguments: argparse.Namespace) -> int:
    """Write the general chat of one run."""
    config = resolve_precision(config)
    started, console = time.monotonic(), Console(stderr=True)
    folder, settings = general_dir(config), replay_settings(config)
    if is_finished(folder, settings):
        console.print(f"general chat: {folder} is finished, nothing to do")
        return 0
    tokenizer = load_tokenizer(config.model)
    shape = ChatShape(tokenizer)
    writer = build_writer(config, tokenizer, shape)
    found = collect(SelfChat(writer, shape, config.replay, config.seed), config.replay, started)
    facts = publish(folder, found, settings, config.generate.shard_size, writer.num_tokens)
    _report(console, folder, facts, config.replay)
    return 0


def build_writer(config: Config, tokenizer: PreTrainedTokenizerBase, shape: ChatShape) -> ModelWriter | ServerWriter:
    """The model in this process, or at `replay.base_url`."""
    stops = shape.stop_token_ids
    if config.replay.base_url:
        return ServerWriter(tokenizer, stops, config.replay, config.replay.llm or config.model.path)
    model = load_model(config.model, dtype_of(config), attention="sdpa")
    if torch.cuda.is_available():
        model.to("cuda")  # type: ignore[arg-type]
    return ModelWriter(model, tokenizer, stops, config.replay, "  sampling")


def _round_size(found: Collected, cfg: ReplayConfig) -> int:
    """User turns to ask for: what is missing at the yield seen so far, with a tenth to spare, one batch at most.

    A round takes about as long for a few as for MIN_ROUND: reading the weights is most of a decoding step.
    """
    if not found.kept:
        return cfg.batch_size
    share = len(found.kept) / (len(found.kept) + len(found.rejected))
    missing = math.ceil(1.1 * (cfg.num_conversations - len(found.kept)) / share)
    return max(min(MIN_ROUND, cfg.batch_size), min(cfg.batch_size, missing))


def _first_difference(old: Any, new: Any, key: str = "") -> str:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                return _first_difference(old.get(name), new.get(name), f"{key}.{name}" if key else name)
    return f"{key}: {old!r} there, {new!r} now"


def _report(console: Console, folder: Path, facts: dict[str, Any], cfg: ReplayConfig) -> None:
    console.print(
        f"general chat: kept {facts['kept']} of {facts['attempts']} ({facts['yield']:.0%}) in "
        f"{facts['seconds']:.0f} s, {facts['tokens_per_s']:.0f} tokens/s, "
        f"{facts['distinct_openings']} distinct openings → {folder}"
    )
    if not facts["finished_in_time"]:
        console.print(
            f"[yellow]replay.max_minutes={cfg.max_minutes:g} ended it before replay.num_conversations="
            f"{cfg.num_conversations} were there[/yellow]"
        )
    console.print("dropped: " + ", ".join(f"{reason} {count}" for reason, count in facts["rejected"].items()))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    return entry("fcdist replay", body, argv)


if __name__ == "__main__":
    raise SystemExit(main())
