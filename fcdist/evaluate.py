"""`fcdist evaluate`: ask the base and the tuned model the same questions, free and held to a grammar.

    python -m fcdist.evaluate RUN [--config NAME] [--rows base,base_grammar] [--force]

Rows of earlier calls stay in RUN/evaluation/results.json, so the base rows can be measured before training.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console
from transformers import PreTrainedModel

from fcdist.config.entry import entry
from fcdist.config.run_folder import checkpoints_dir, store_dir
from fcdist.config.types import Config
from fcdist.data.store import open_store
from fcdist.errors import DataError, EvaluationError
from fcdist.evaluation.report import write_report
from fcdist.evaluation.retention import retention_loss
from fcdist.evaluation.rows import GRAMMAR_ROW, ROWS, Exam, Results, answer_rows, exam_fingerprint, read_exam, score
from fcdist.evaluation.summary import summary_table
from fcdist.model.precision import dtype_of, resolve_precision
from fcdist.model.tuned import load_tuned
from fcdist.model.weights import load_model, load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.training.checkpoints.finding import newest_checkpoint


def evaluate(cfg: Config, run_dir: Path, args: argparse.Namespace) -> None:
    """Measure the rows asked for that are not there yet, and print the table."""
    cfg = resolve_precision(cfg)
    asked = tuple(args.rows.split(",")) if args.rows else cfg.evaluate.rows
    if unknown := [row for row in asked if row not in ROWS]:
        raise EvaluationError(f"evaluate.rows: {unknown[0]!r} is not one of {', '.join(ROWS)}")
    checkpoint = newest_checkpoint(checkpoints_dir(cfg))
    if checkpoint is None and any(row.startswith("tuned") for row in asked):
        raise EvaluationError(
            f"evaluate.rows asks for {', '.join(row for row in asked if row.startswith('tuned'))}, but "
            f"{checkpoints_dir(cfg)} holds no complete checkpoint; train first, or set "
            "evaluate.rows=[base,base_grammar]"
        )
    tokenizer = load_tokenizer(cfg.model)
    renderer = Renderer(tokenizer, load_protocol(cfg.protocol.name))
    exam = read_exam(cfg)
    results = Results(cfg, renderer)
    console = Console()
    console.print(f"{len(exam.suite)} held-out and {len(exam.bfcl)} BFCL questions, rows {', '.join(asked)}")
    for which in GRAMMAR_ROW:
        facts: tuple[Any, ...] = (which, exam_fingerprint(exam), _validation_fingerprint(cfg))
        if which == "tuned":
            facts = (*facts, checkpoint, checkpoint and (checkpoint / "MANIFEST.json").read_text(encoding="utf-8"))
        fingerprint = results.fingerprint(*facts)
        mine = [row for row in (which, GRAMMAR_ROW[which]) if row in asked]
        missing = [row for row in mine if args.force or not results.has(row, fingerprint)]
        if missing:
            model = _load(cfg, which, checkpoint)
            _measure(cfg, which, missing, model, renderer, exam, results, fingerprint)
            del model
    report = write_report(results.path)
    console.print(summary_table(results.value))
    console.print(f"report: {report}")


def _measure(
    cfg: Config,
    which: str,
    rows: Sequence[str],
    model: PreTrainedModel,
    renderer: Renderer,
    exam: Exam,
    results: Results,
    fingerprint: str,
) -> None:
    answers, timing, failures = answer_rows(cfg, which, rows, model, renderer.tokenizer, renderer, exam)
    for row in rows:
        value, records = score(exam, answers[row], renderer)
        value |= {"seconds": timing.seconds, "tokens": timing.new_tokens, "fingerprint": fingerprint}
        if which == row:
            loss = retention_loss(cfg, model, renderer)
            if loss is not None:
                value["retention"] = loss
        elif failures:
            value["without_grammar"] = failures
        results.add(row, value, records)


def _validation_fingerprint(cfg: Config) -> str:
    """Of the store that retention is measured on; a base row from before `prepare` is measured again after it."""
    try:
        return open_store(store_dir(cfg), "validation").fingerprint
    except DataError:
        return ""


def _load(cfg: Config, which: str, checkpoint: Path | None) -> PreTrainedModel:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dtype = dtype_of(cfg)
    if which == "tuned" and checkpoint is not None:
        model = load_tuned(cfg, checkpoint, dtype)
    else:
        model = load_model(cfg.model, dtype, "sdpa")
    return cast(PreTrainedModel, model.to(device))  # type: ignore[arg-type]


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", default="", help="comma-separated, instead of evaluate.rows")
    parser.add_argument("--force", action="store_true", help="measure again what is already there")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point."""
    return entry("fcdist evaluate", evaluate, argv, _arguments)


if __name__ == "__main__":
    raise SystemExit(main())
