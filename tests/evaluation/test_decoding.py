"""Laws of batched decoding: the same answers as one by one and as transformers' own loop."""

from random import Random

import pytest
import torch
import xgrammar

from fcdist.evaluation.batching import even_parts, plan_batches, shared_prefixes
from fcdist.evaluation.decoding import LocalDecoder, Prompt, Sampling, accepted_part
from fcdist.evaluation.grammar import GrammarCompiler
from fcdist.evaluation.sampling import nucleus
from fcdist.model.debug import VOCAB_SIZE, debug_tokenizer, tiny_model
from fcdist.protocols.protocol import load_protocol
from fcdist.schema.conversation import Tool

STOPS = (2, 30, 31, 32, 33, 34)
WEATHER = Tool(
    "get_weather",
    "Weather of a city.",
    {"type": "object", "properties": {"days": {"type": "integer", "minimum": 0, "maximum": 9}}, "required": ["days"]},
)


def make_prompts(seed: int = 0, num: int = 12) -> list[Prompt]:
    rng = Random(seed)
    tools = [rng.randrange(4, VOCAB_SIZE) for _ in range(64)]
    starts = [tools, tools, tools, []]
    return [
        Prompt(
            [*rng.choice(starts), *(rng.randrange(4, VOCAB_SIZE) for _ in range(rng.randrange(1, 40)))],
            rng.randrange(1, 24),
        )
        for _ in range(num)
    ]


def decoder(kind="llama", **settings):
    return LocalDecoder(tiny_model(kind, seed=1), debug_tokenizer(), STOPS, **settings)


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral"])
def test_batched_equals_single_equals_transformers(kind):
    prompts = make_prompts()
    batched = decoder(kind, batch_size=5).generate_ids(prompts)
    assert batched == [decoder(kind).generate_ids([prompt])[0] for prompt in prompts]
    model = tiny_model(kind, seed=1)
    for prompt, answer in zip(prompts, batched, strict=True):
        ids = torch.tensor([prompt.token_ids])
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=prompt.max_new_tokens,
            do_sample=False,
            eos_token_id=list(STOPS),
            pad_token_id=0,
        )[0, ids.shape[1] :].tolist()
        assert answer == [token for token in out if token not in STOPS]
    assert len({len(answer) for answer in batched}) > 3  # rows ended at different steps


def test_rows_that_end_early_do_not_change_the_others():
    long = Prompt(make_prompts(3, 1)[0].token_ids, 30)
    alone = decoder().generate_ids([long])[0]
    short = [Prompt(p.token_ids, 1 + i) for i, p in enumerate(make_prompts(4, 8))]
    assert decoder().generate_ids([*short, long])[-1] == alone


def make_grammars(tokenizer, answers):
    """One that leaves most answers midway (a byte of theirs is forbidden), one that forces a call from the start."""
    info = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=VOCAB_SIZE, stop_token_ids=[STOPS[0]])
    forbidden = sorted({chr(token - 4 + 33) for answer in answers for token in answer[6:9] if 5 <= token < 90})
    text = {"type": "structural_tag", "format": {"type": "any_text", "excludes": forbidden}}
    midway = xgrammar.GrammarCompiler(info).compile_structural_tag(text)
    compiler = GrammarCompiler(tokenizer, load_protocol("text").recipe, STOPS[:1], VOCAB_SIZE)
    forced = compiler.compile([WEATHER], required=True)
    assert forced is not None
    return midway, forced


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_both_rows_equal_two_separate_runs(kind):
    tokenizer, model = debug_tokenizer(), tiny_model(kind, seed=2)
    separate = LocalDecoder(model, tokenizer, STOPS[:1])
    plain = [Prompt(p.token_ids, 60 + i) for i, p in enumerate(make_prompts(5, 9))]
    expected = separate.generate_ids(plain)
    grammars = [*make_grammars(tokenizer, expected), None]
    prompts = [Prompt(p.token_ids, p.max_new_tokens, grammars[i % 3]) for i, p in enumerate(plain)]
    both = LocalDecoder(model, tokenizer, STOPS[:1])
    free, held = both.generate_both(prompts)
    assert free == expected
    assert held == separate.generate_ids(prompts)
    for answer in held[1::3]:
        assert "".join(tokenizer.decode(answer).split()).startswith('<function_call>{"name":"get_weather","arg')
    assert any(0 < len(accepted_part(p, f, STOPS[:1])) < len(f) for p, f in zip(prompts[::3], free[::3], strict=True))
    assert both.work.new_tokens < separate.work.new_tokens


def test_sampling_does_not_depend_on_the_batch_and_follows_the_seed():
    prompts = make_prompts(6, 9)
    hot = Sampling(temperature=1.0, top_p=0.9, seed=3)
    whole = decoder(sampling=hot).generate_ids(prompts)
    assert decoder(sampling=hot, batch_size=2).generate_ids(prompts) == whole
    assert decoder(sampling=Sampling(temperature=1.0, top_p=0.9, seed=4)).generate_ids(prompts) != whole
    with pytest.raises(ValueError, match="greedy"):
        decoder(sampling=hot).generate_both(prompts)


def test_nucleus_takes_tokens_in_proportion_and_none_outside():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(10_000, 4)
    uniform = (torch.arange(10_000) + 0.5) / 10_000
    counts = nucleus(logits, 0.8, uniform).bincount(minlength=4) / 10_000
    assert torch.allclose(counts, torch.tensor([0.625, 0.375, 0.0, 0.0]), atol=2e-3)


def test_plan_covers_each_prompt_once_within_the_limits():
    sequences = [list(p.token_ids) for p in make_prompts(7, 60)]
    batches = plan_batches(sequences, 8, 300)
    assert sorted(i for batch in batches for i in batch) == list(range(60))
    for batch in batches:
        assert len(batch) <= 8
        assert len(batch) == 1 or len(batch) * max(len(sequences[i]) for i in batch) <= 300


def test_shared_prefixes_are_prefixes_and_leave_a_token():
    sequences = [list(p.token_ids) for p in make_prompts(8, 30)]
    prefixes, cluster = shared_prefixes(sequences)
    assert len(prefixes) < len(sequences)
    for sequence, place in zip(sequences, cluster, strict=True):
        assert sequence[: len(prefixes[place])] == prefixes[place] and len(sequence) > len(prefixes[place])


def test_even_parts_bound_the_padding():
    lengths = [Random(i).randrange(100, 1500) for i in range(40)]
    parts = even_parts(lengths)
    assert sorted(i for part in parts for i in part) == list(range(40))
    padded = sum(len(part) * max(lengths[i] for i in part) for part in parts)
    assert padded <= 1.12 * sum(lengths)


def test_no_prompts_give_no_answers():
    assert decoder().generate([]) == []
