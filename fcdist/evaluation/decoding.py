"""Batched decoding in process: greedy or sampled, free or held to a grammar.

One primitive does all of it. `_extend` appends a ragged block of tokens, padded on the left, to a cache whose rows may
have padding of their own; the mask says which columns count and positions count only those. A prompt is an extension
of an empty cache, a prompt whose leading tokens other prompts share is an extension of their prefix's cache, an answer
continued under a grammar is an extension by the part of the free answer that the grammar accepts, and a step is an
extension by one token.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import xgrammar
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase

from fcdist.config.seeds import derive_seed
from fcdist.evaluation.batching import ProgressBar, even_parts, plan_batches, shared_prefixes
from fcdist.evaluation.sampling import nucleus
from fcdist.model.attention import PLAIN, set_attention
from fcdist.model.generation import GENERATE, GrowingLayer, growing_cache


@dataclass(frozen=True, slots=True)
class Prompt:
    """What to continue."""

    token_ids: Sequence[int]
    max_new_tokens: int
    grammar: xgrammar.CompiledGrammar | None = None
    """Tokens outside it cannot be chosen; None: free text."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.0
    """0: the most likely token."""
    top_p: float = 1.0
    """Choose among the fewest most likely tokens that together have this probability."""
    seed: int = 0
    """Each prompt has its own stream, derived from this and its place in the list."""


class Decoder(Protocol):
    """Turns prompts into answers."""

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Answers in the order of `prompts`, without the stop token."""
        ...


@dataclass(slots=True)
class _Rows:
    """Rows decoded side by side: R rows, L columns of cache, V tokens in the vocabulary."""

    index: list[int]
    """[R] place of each row's prompt in the caller's list."""
    cache: DynamicCache
    mask: Tensor
    """[R, L] int64; 0 marks padding."""
    logits: Tensor
    """[R, V] scores of each row's next token."""

    def select(self, keep: Sequence[int]) -> "_Rows":
        """A copy with rows `keep`; the cache shares memory until it grows."""
        cache = copy.copy(self.cache)
        cache.layers = [copy.copy(layer) for layer in self.cache.layers]
        for layer in cache.layers:
            if isinstance(layer, GrowingLayer):
                layer.release()
        if list(keep) == list(range(len(self.index))):
            return _Rows(list(self.index), cache, self.mask, self.logits)
        rows = torch.tensor(list(keep), device=self.mask.device)
        cache.batch_select_indices(rows)
        return _Rows([self.index[i] for i in keep], cache, self.mask[rows], self.logits[rows])


@dataclass(slots=True)
class Work:
    """What a decoder did, for speed reports."""

    prompt_tokens: int = 0
    """Tokens of all prompts."""
    prefill_tokens: int = 0
    """Tokens really run through the model before the first new one (padding included)."""
    new_tokens: int = 0
    """Tokens chosen step by step."""
    reused_tokens: int = 0
    """Tokens of grammar answers taken over from the free answers."""
    steps: int = 0


@dataclass(slots=True)
class LocalDecoder:
    """Decode with a model in this process.

    Args:
        model: a decoder-only HF model with an attention that takes padding masks (`sdpa`, `eager`).
        tokenizer: turns the new tokens into text.
        stop_token_ids: any of these ends an answer.
        batch_size: rows side by side at most.
        max_batch_tokens: prompt tokens side by side at most, padding included; bounds the cache.
        sampling: greedy unless a temperature is given.
        progress: label of a progress bar on stderr; empty: none.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    stop_token_ids: tuple[int, ...]
    batch_size: int = 32
    max_batch_tokens: int = 24_576
    sampling: Sampling = Sampling()
    progress: str = ""
    work: Work = field(default_factory=Work)

    def __post_init__(self) -> None:
        if self.model.config._attn_implementation == PLAIN:
            set_attention(self.model, GENERATE)

    def generate(self, prompts: Sequence[Prompt]) -> list[str]:
        """Answers in the order of `prompts`, each under its own grammar, without the stop token."""
        return [self.text(ids) for ids in self.generate_ids(prompts)]

    def text(self, token_ids: Sequence[int]) -> str:
        """Text of generated tokens, special tokens spelled out."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=False))

    def generate_ids(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Like `generate`, as token ids."""
        answers: list[list[int]] = [[] for _ in prompts]
        with ProgressBar(self.progress, len(prompts)) as advance:
            for rows in self._batches(prompts):
                self._decode(rows, prompts, answers, True, advance)
        return answers

    def generate_both(self, prompts: Sequence[Prompt]) -> tuple[list[list[int]], list[list[int]]]:
        """Greedy answers without and with each prompt's grammar; what both have in common is computed once.

        A greedy free answer that its grammar accepts token by token is the greedy answer under the grammar, because
        the best of all tokens is also the best of the allowed ones. So only answers that leave the grammar are decoded
        again, from the token where they leave it, on the prompt's cache.

        Returns:
            (free, constrained) token ids in the order of `prompts`; without a grammar the two are equal.
        """
        if self.sampling.temperature > 0:
            raise ValueError(
                "generate_both shares tokens between the two answers, which holds for greedy decoding only"
            )
        free: list[list[int]] = [[] for _ in prompts]
        held: list[list[int]] = [[] for _ in prompts]
        with ProgressBar(self.progress, len(prompts)) as advance:
            for rows in self._batches(prompts):
                self._decode(rows.select(range(len(rows.index))), prompts, free, False, advance)
                self._decode_leaving(rows, prompts, free, held)
        return free, held

    def _decode_leaving(
        self, rows: _Rows, prompts: Sequence[Prompt], free: Sequence[list[int]], held: list[list[int]]
    ) -> None:
        """Set `held` to what each free answer has in common with the constrained one, and decode the rest of it."""
        leaving: list[int] = []
        for row, i in enumerate(rows.index):
            held[i] = accepted_part(prompts[i], free[i], self.stop_token_ids)
            stopped = len(free[i]) < prompts[i].max_new_tokens
            finished = len(held[i]) == len(free[i]) and (not stopped or _may_stop(prompts[i], held[i]))
            self.work.reused_tokens += len(held[i])
            if not finished:
                leaving.append(row)
        if leaving:
            index = [rows.index[row] for row in leaving]
            if self._windowed:
                again = self._prefill(index, [[*prompts[i].token_ids, *held[i]] for i in index])
            else:
                again = self._extend(rows.select(leaving), [held[i] for i in index])
            self._decode(again, prompts, held, True)

    @torch.inference_mode()
    def _decode(
        self,
        rows: _Rows,
        prompts: Sequence[Prompt],
        answers: list[list[int]],
        constrained: bool,
        advance: Callable[[int], None] = lambda ended: None,
    ) -> None:
        """Append to `answers` (which may hold a start already in the cache) until every row has ended.

        `advance` is told how many rows ended at each step.
        """
        chooser = _Chooser(self.sampling, rows.index, prompts, answers, self.stop_token_ids, constrained)
        stops = set(self.stop_token_ids)
        active = [True] * len(rows.index)
        while True:
            tokens = chooser.choose(rows.index, rows.logits, active)
            before = sum(active)
            for row, i in enumerate(rows.index):
                if active[row] and tokens[row] in stops:
                    active[row] = False
                elif active[row]:
                    answers[i].append(tokens[row])
                    active[row] = len(answers[i]) < prompts[i].max_new_tokens
            alive = [row for row in range(len(active)) if active[row]]
            advance(before - len(alive))
            if not alive:
                return
            if len(alive) <= 0.875 * len(active):  # dropping copies the cache, so not for every single row
                rows, tokens, active = rows.select(alive), [tokens[row] for row in alive], [True] * len(alive)
            self.work.new_tokens += len(alive)
            self.work.steps += 1
            rows = self._extend(rows, [[token] for token in tokens])

    @torch.inference_mode()
    def _extend(self, rows: _Rows, blocks: Sequence[Sequence[int]]) -> _Rows:
        """Run `blocks[r]` (possibly empty) after row r. Changes and returns `rows`."""
        width = max(map(len, blocks), default=0)
        if width == 0:
            return rows
        device = rows.mask.device
        ids = torch.zeros(len(blocks), width, dtype=torch.int64)
        block_mask = torch.zeros(len(blocks), width, dtype=torch.int64)
        for row, block in enumerate(blocks):
            if block:
                ids[row, -len(block) :] = torch.tensor(list(block))
                block_mask[row, -len(block) :] = 1
        rows.mask = torch.cat([rows.mask, block_mask.to(device)], dim=1)
        positions = (rows.mask.cumsum(1) - 1).clamp(min=0)[:, -width:]
        out = self.model(
            input_ids=ids.to(device),
            attention_mask=rows.mask,
            position_ids=positions,
            past_key_values=rows.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        fresh = out.logits[:, -1].float()
        if all(blocks):
            rows.logits = fresh
        else:
            has_block = torch.tensor([bool(block) for block in blocks], device=device)
            rows.logits = torch.where(has_block[:, None], fresh, rows.logits)
        return rows

    @torch.inference_mode()
    def _prefill(self, index: list[int], sequences: Sequence[list[int]]) -> _Rows:
        """Run the token lists of prompts `index`; a start that several of them share is run once."""
        self.work.prompt_tokens += sum(map(len, sequences))
        prefixes, cluster = shared_prefixes(sequences)
        if len(prefixes) == len(sequences) or self._windowed:
            rows = self._extend_evenly(self._empty(len(index)), sequences)
        else:
            starts = self._extend_evenly(self._empty(len(prefixes)), prefixes)
            rest = [sequence[len(prefixes[c]) :] for sequence, c in zip(sequences, cluster, strict=True)]
            rows = self._extend_evenly(starts.select(cluster), rest)
        rows.index = list(index)
        return rows

    def _empty(self, count: int) -> _Rows:
        """Rows without tokens."""
        device = self.model.device
        # A cache of a window forgets columns by their place, which padding inside a row would shift.
        cache = DynamicCache() if self._windowed else growing_cache(self.model.config)
        mask = torch.zeros(count, 0, dtype=torch.int64, device=device)
        return _Rows(list(range(count)), cache, mask, torch.zeros(count, 1, device=device))

    def _extend_evenly(self, rows: _Rows, blocks: Sequence[Sequence[int]]) -> _Rows:
        """`_extend` in parts of similar length, so that little padding is computed."""
        parts = even_parts([len(block) for block in blocks])
        done = []
        for part in parts:
            self.work.prefill_tokens += len(part) * max(len(blocks[i]) for i in part)
            done.append(self._extend(rows.select(part), [blocks[i] for i in part]))
        merged = _merge(done)
        places = [place for part in parts for place in part]
        return merged.select(sorted(range(len(places)), key=lambda row: places[row]))

    @property
    def _windowed(self) -> bool:
        """Whether some layer attends through a window, counted in columns; rows must then have no padding inside."""
        return any(getattr(layer, "is_sliding", False) for layer in DynamicCache(config=self.model.config).layers)

    def _batches(self, prompts: Sequence[Prompt]) -> Iterator[_Rows]:
        """Prefilled batches of similar prompts."""
        plan = plan_batches([list(p.token_ids) for p in prompts], self.batch_size, self.max_batch_tokens)
        for index in plan:
            yield self._prefill(index, [list(prompts[i].token_ids) for i in index])


def _merge(parts: Sequence[_Rows]) -> _Rows:
    """Put rows under each other, padding the shorter ones' columns on the left."""
    if len(parts) == 1:
        return parts[0]
    width = max(part.mask.shape[1] for part in parts)
    merged = parts[0].select(range(len(parts[0].index)))
    for place, merged_layer in enumerate(merged.cache.layers):
        layer: Any = merged_layer
        layers: list[Any] = [part.cache.layers[place] for part in parts]
        layer.keys = torch.cat([_pad_columns(one.keys, width, -2) for one in layers])
        layer.values = torch.cat([_pad_columns(one.values, width, -2) for one in layers])
    merged.index = [i for part in parts for i in part.index]
    merged.mask = torch.cat([_pad_columns(part.mask, width, -1) for part in parts])
    merged.logits = torch.cat([part.logits for part in parts])
    return merged


def _pad_columns(tensor: Tensor, width: int, dim: int) -> Tensor:
    missing = width - tensor.shape[dim]
    if not missing:
        return tensor
    return torch.nn.functional.pad(tensor, (missing, 0) if dim == -1 else (0, 0, missing, 0))


class _Chooser:
    """Chooses next tokens row by row: grammar mask, then greedy or nucleus sampling."""

    def __init__(
        self,
        sampling: Sampling,
        index: Sequence[int],
        prompts: Sequence[Prompt],
        answers: Sequence[Sequence[int]],
        stop_token_ids: Sequence[int],
        constrained: bool,
    ) -> None:
        self._sampling = sampling
        self._matchers: dict[int, xgrammar.GrammarMatcher] = {}
        for i in index:
            if constrained and (grammar := prompts[i].grammar) is not None:
                self._matchers[i] = _matcher(grammar, stop_token_ids, answers[i])
        self._streams = {
            i: torch.Generator().manual_seed(derive_seed(sampling.seed, "decode", i))
            for i in (index if sampling.temperature > 0 else ())
        }

    def choose(self, index: Sequence[int], logits: Tensor, active: Sequence[bool]) -> list[int]:
        """[R] tokens for rows `index`; `logits` [R, V] float32 is changed in place."""
        held = [row for row, i in enumerate(index) if active[row] and i in self._matchers]
        if held:
            bitmask = xgrammar.allocate_token_bitmask(len(index), logits.shape[-1])
            for row in held:
                self._matchers[index[row]].fill_next_token_bitmask(bitmask, row)
            xgrammar.apply_token_bitmask_inplace(logits, bitmask.to(logits.device), indices=held)
        if self._sampling.temperature > 0:
            uniform = torch.cat([torch.rand(1, generator=self._streams[i]) for i in index]).to(logits.device)
            tokens = nucleus(logits / self._sampling.temperature, self._sampling.top_p, uniform).tolist()
        else:
            tokens = logits.argmax(-1).tolist()
        for row in held:
            self._matchers[index[row]].accept_token(tokens[row])
        return tokens


def accepted_part(prompt: Prompt, answer: Sequence[int], stop_token_ids: Sequence[int]) -> list[int]:
    """The longest start of `answer` that the prompt's grammar accepts; all of it without a grammar."""
    if prompt.grammar is None:
        return list(answer)
    matcher = _matcher(prompt.grammar, stop_token_ids, ())
    for place, token in enumerate(answer):
        if matcher.is_terminated() or not matcher.accept_token(token):
            return list(answer[:place])
    return list(answer)


def _may_stop(prompt: Prompt, answer: Sequence[int]) -> bool:
    if prompt.grammar is None:
        return True
    matcher = xgrammar.GrammarMatcher(prompt.grammar, terminate_without_stop_token=False)
    return all(matcher.accept_token(token) for token in answer) and matcher.is_completed()


def _matcher(
    grammar: xgrammar.CompiledGrammar, stop_token_ids: Sequence[int], answer: Sequence[int]
) -> xgrammar.GrammarMatcher:
    matcher = xgrammar.GrammarMatcher(grammar, override_stop_tokens=list(stop_token_ids))
    for token in answer:
        matcher.accept_token(token)
    return matcher
