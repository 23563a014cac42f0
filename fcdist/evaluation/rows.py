"""The four rows: the same questions to the base and the tuned model, each free and held to a grammar."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from fcdist.config.mapping import to_mapping
from fcdist.config.run_folder import evaluation_dir, held_out_dir
from fcdist.config.types import Config
from fcdist.errors import EvaluationError
from fcdist.evaluation.bfcl import BfclItem, BfclVerdict, judge_bfcl, read_category, summarise_bfcl
from fcdist.evaluation.decoding import LocalDecoder, Prompt
from fcdist.evaluation.grammar import CallMarks, GrammarCompiler
from fcdist.evaluation.measures import Verdict, judge, summarise
from fcdist.evaluation.suite import Item, read_suite, training_tools
from fcdist.protocols.rendering import Renderer, drop_thoughts
from fcdist.schema.shards import write_json

ROWS = ("base", "base_grammar", "tuned", "tuned_grammar")
GRAMMAR_ROW = {"base": "base_grammar", "tuned": "tuned_grammar"}
"""Model → its row under a grammar."""
REQUIRED = {"base": True, "tuned": False}
"""The untuned model is forced to make one call, since it seldom begins one by itself and the row asks what a grammar
alone gives; where no call or several are due it is wrong by construction. The tuned model decides for itself, and only
what follows a call mark is held."""


@dataclass(frozen=True, slots=True)
class Exam:
    """All questions of a run."""

    suite: tuple[Item, ...]
    bfcl: tuple[BfclItem, ...]
    seen_tools: frozenset[str] | None
    """Tools the training data offers; None: unknown."""

    @property
    def contexts(self) -> list[Item | BfclItem]:
        """Suite first, then BFCL."""
        return [*self.suite, *self.bfcl]


@dataclass(frozen=True, slots=True)
class Timing:
    """What the answers cost."""

    seconds: float
    """Of both rows of a model, since they share most of the work."""
    new_tokens: int


def read_exam(cfg: Config) -> Exam:
    """Read suite and BFCL as `evaluate` says.

    Raises:
        EvaluationError: no suite, unknown category, or bfcl-eval is missing.
    """
    evaluate = cfg.evaluate
    suite = read_suite(held_out_dir(cfg), evaluate.suite_limit, evaluate.seed)
    bfcl = [
        item
        for category in evaluate.bfcl_categories
        for item in read_category(category, evaluate.bfcl_limit, evaluate.seed)
    ]
    seen = training_tools(cfg.data.sources)
    return Exam(tuple(suite), tuple(bfcl), None if seen is None else frozenset(seen))


def answer_rows(
    cfg: Config,
    which: str,
    rows: Sequence[str],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    renderer: Renderer,
    exam: Exam,
) -> tuple[dict[str, list[str]], Timing, dict[str, str]]:
    """Let one model answer everything.

    Args:
        cfg: `evaluate` bounds batches and answers.
        which: `base` or `tuned`.
        rows: of this model, those wanted.
        model: to decode with.
        tokenizer: the model's.
        renderer: writes prompts; tuned and base model get the same ones.
        exam: the questions.

    Returns:
        Row → answers in the order of `exam.contexts`; cost; tool lists that no grammar could be made of → reason.
    """
    grammars: list[Any] = [None] * len(exam.contexts)
    failures: dict[str, str] = {}
    if GRAMMAR_ROW[which] in rows:
        width = int(model.get_output_embeddings().out_features)  # type: ignore[no-untyped-call]
        compiler = GrammarCompiler(tokenizer, renderer.recipe or {}, renderer.stop_token_ids, width)
        grammars = [compiler.compile(item.context.tools, REQUIRED[which]) for item in exam.contexts]
        failures = compiler.failures
    prompts = [
        Prompt(prompt_ids(cfg, item, renderer, tokenizer), cfg.evaluate.max_new_tokens, grammar)
        for item, grammar in zip(exam.contexts, grammars, strict=True)
    ]
    decoder = LocalDecoder(
        model, tokenizer, renderer.stop_token_ids, batch_size=cfg.evaluate.batch_size, progress=f"evaluate {which}"
    )
    started = time.perf_counter()
    if len(rows) == 2:
        free, held = decoder.generate_both(prompts)
        ids = {which: free, GRAMMAR_ROW[which]: held}
    else:
        ids = {rows[0]: decoder.generate_ids(prompts)}
    timing = Timing(round(time.perf_counter() - started, 1), decoder.work.new_tokens)
    return {row: [decoder.text(answer) for answer in answers] for row, answers in ids.items()}, timing, failures


def prompt_ids(cfg: Config, item: Item | BfclItem, renderer: Renderer, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Tokens of one question, encoded as a server encodes them."""
    context = item.context if cfg.protocol.thoughts else drop_thoughts(item.context)
    return list(tokenizer.encode(renderer.prompt(context), add_special_tokens=False))


def score(exam: Exam, answers: Sequence[str], renderer: Renderer) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Judge a row's answers.

    Returns:
        The row's `suite`, `bfcl` and `items`; and one record per answer for answers-<row>.jsonl.
    """
    marks = CallMarks.from_recipe(renderer.recipe) if renderer.recipe else None
    suite: list[Verdict] = []
    bfcl: list[BfclVerdict] = []
    items: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    for item, text in zip(exam.contexts, answers, strict=True):
        message = renderer.parse(text, item.context.tools)
        if isinstance(item, Item):
            verdict = judge(item, message)
            suite.append(verdict)
            name, right, reason = "suite", verdict.right, verdict.reason
            expected: Any = item.expected.to_wire()
        else:
            triggered = bool(message.tool_calls) or (marks is not None and marks.begin.strip() in text)
            judged = judge_bfcl(item, message, triggered)
            bfcl.append(judged)
            name, right, reason = f"bfcl/{item.category}", judged.right, judged.reason
            expected = list(item.possible)
        items.append({"id": item.id, "set": name, "right": right})
        records.append({"id": item.id, "set": name, "text": text, "expected": expected, "reason": reason})
    row = {"suite": summarise(suite, exam.seen_tools), "bfcl": summarise_bfcl(bfcl), "items": items}
    return row, records


class Results:
    """RUN/evaluation/results.json: rows of several calls side by side; a row with the same settings is kept."""

    def __init__(self, cfg: Config, renderer: Renderer) -> None:
        self.folder: Path = evaluation_dir(cfg)
        self.path = self.folder / "results.json"
        evaluate = {k: v for k, v in to_mapping(cfg.evaluate).items() if k not in ("rows", "batch_size")}
        self._settings = {
            "evaluate": evaluate,
            "thoughts": cfg.protocol.thoughts,
            "precision": cfg.train.precision,
            "renderer": renderer.fingerprint(),
            "versions": {name: _version(name) for name in ("fcdist", "torch", "transformers", "xgrammar", "bfcl-eval")},
        }
        self._head = {
            "model": "/".join(part for part in (cfg.model.package, cfg.model.path, cfg.model.gguf_file) if part),
            "protocol": cfg.protocol.name,
            "settings": self._settings,
        }
        self.value: dict[str, Any] = {"rows": {}}
        if self.path.is_file():
            try:
                self.value = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise EvaluationError(f"{self.path}: not JSON ({error}); delete it and evaluate again") from None

    def fingerprint(self, *facts: object) -> str:
        """Of all that decides a row's answers: settings, model, questions, checkpoint."""
        text = json.dumps([self._head, *map(str, facts)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def has(self, row: str, fingerprint: str) -> bool:
        """Whether the row was measured with the same settings."""
        return bool(self.value["rows"].get(row, {}).get("fingerprint") == fingerprint)

    def add(self, row: str, value: Mapping[str, Any], records: Sequence[Mapping[str, Any]]) -> None:
        """Write a row and its answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (self.folder / f"answers-{row}.jsonl").write_text(lines, encoding="utf-8")
        self.value["rows"][row] = dict(value)
        self.value |= self._head | {"created": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(self.path, self.value)


def exam_fingerprint(exam: Exam) -> str:
    """Digest of the questions and what is expected."""
    digest = hashlib.sha256()
    for item in exam.contexts:
        expected = item.expected.to_wire() if isinstance(item, Item) else item.possible
        digest.update(json.dumps([item.id, item.context.to_wire(), expected]).encode())
    digest.update(json.dumps(sorted(exam.seen_tools or ())).encode())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
