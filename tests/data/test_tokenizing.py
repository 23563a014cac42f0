"""Training tokens are serving tokens: prompt first, completion after it, nothing cut, every token of a known kind."""

import json
import random

import numpy as np
import pytest
from conversations import tool_conversation
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import small_renderer
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from fcdist.data.batch import Kind
from fcdist.data.encoding import FastEncode, SlowEncode, WholeEncode
from fcdist.data.tokenizing import encoder, tokenize
from fcdist.data.word_encoding import WordEncode, ends_words_at_spaces
from fcdist.errors import RenderError
from fcdist.model.debug import debug_tokenizer
from fcdist.protocols.rendering import Segment


@pytest.fixture(scope="module")
def merging_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE with merges, so that tokens span characters and could span segments."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    corpus = ["the answer is }} the call the answer</thought> 天气 天气 好 indeed }}\n\n"] * 50
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        corpus, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, special_tokens=["<end>"])
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


KINDS = ("thought", "call", "answer", "end")
WORDS = st.text(st.sampled_from("the answr }\n 天气🙂é"), min_size=1, max_size=12)
SEGMENTS = st.lists(
    st.one_of(
        WORDS.map(lambda t: Segment(t, False, "context")),
        st.tuples(WORDS, st.sampled_from(KINDS)).map(lambda p: Segment(p[0], True, p[1])),
    ),
    max_size=8,
).map(lambda body: [Segment("p", False, "context"), *body, Segment("<end>", True, "end")])


@settings(max_examples=150, deadline=None)
@given(segments=SEGMENTS)
def test_each_run_is_encoded_as_serving_does_and_nothing_is_lost(merging_tokenizer, segments):
    example = tokenize(segments, encoder(merging_tokenizer))
    expected: list[int] = []
    masks: list[bool] = []
    i = 0
    while i < len(segments):
        j = i
        while j < len(segments) and segments[j].supervised == segments[i].supervised:
            j += 1
        ids = merging_tokenizer("".join(s.text for s in segments[i:j]), add_special_tokens=False)["input_ids"]
        expected += ids
        masks += [segments[i].supervised] * len(ids)
        i = j
    assert example.input_ids.tolist() == expected and example.input_ids.dtype == np.int32
    assert (example.kinds != Kind.CONTEXT).tolist() == masks
    assert merging_tokenizer.decode(example.input_ids.tolist()) == "".join(s.text for s in segments)
    assert example.kinds[-1] == Kind.END


def test_a_byte_tokenizer_gives_every_byte_the_kind_of_its_segment():
    parts = [("p天", "context"), ("想想🙂", "thought"), ("{é}", "call"), ("好", "answer"), ("<|im_end|>", "end")]
    segments = [Segment(text, kind != "context", kind) for text, kind in parts]
    example = tokenize(segments, encoder(debug_tokenizer()))
    expected = [Kind[kind.upper()] for text, kind in parts for _ in (["t"] if kind == "end" else text.encode())]
    assert example.kinds.tolist() == expected


def test_a_token_that_spans_kinds_has_the_kind_of_its_first_character(merging_tokenizer):
    whole = merging_tokenizer(" answer", add_special_tokens=False)["input_ids"]
    segments = [Segment("p", False, "context"), Segment(" ans", True, "thought"), Segment("wer", True, "call")]
    example = tokenize(segments, encoder(merging_tokenizer))
    assert len(whole) == 1 and example.kinds.tolist() == [Kind.CONTEXT, Kind.THOUGHT]


def test_a_tokenizer_without_offsets_finds_the_same_places(merging_tokenizer):
    text = "the answer 天气 is }}\n\n"
    assert SlowEncode(merging_tokenizer)(text) == FastEncode(merging_tokenizer)(text)


PIECES = (
    "the",
    " the",
    "answer",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u00a0",
    "\u2028",
    "'s",
    "!",
    "}}",
    '"',
    "1",
    "42",
    "é",
)
PIECES += ("e\u0301", "天气", "。", "🙂", "\x1c", "<end>", "<end", ">", "<a>")
PATTERN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
PATTERN += r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def byte_level(kind: str) -> PreTrainedTokenizerFast:
    """GPT-2's, Llama 3's, SmolLM2's and Qwen's ways to find words."""
    whole, in_steps = (pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=regex) for regex in (True, False))
    ways = {
        "gpt2": whole,
        "llama3": pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), in_steps]),
        "smollm2": pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole]),
        "qwen": pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(PATTERN.replace("{1,3}", "")), "isolated"), in_steps]
        ),
    }
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = ways[kind], decoders.ByteLevel()
    backend.normalizer = normalizers.NFC() if kind == "qwen" else None
    # A byte without a token is left out of the text: most vocabularies have no token for all of them.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())[: 190 if kind in ("smollm2", "qwen") else 256]
    corpus = ["the answer is }} 42 the call's answer!\n 天气 天气。 🙂  {\n    é e\u0301"] * 50
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<end>", "<a>"])
    backend.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("kind", ["gpt2", "llama3", "smollm2", "qwen"])
def test_a_text_in_remembered_words_has_the_tokens_of_the_whole(kind):
    tokenizer = byte_level(kind)
    encode, whole = encoder(tokenizer), WholeEncode(FastEncode(tokenizer))
    assert isinstance(encode, WordEncode)
    draw = random.Random(kind)
    texts = ["".join(draw.choices(PIECES, k=draw.randrange(20))) for _ in range(400)]
    for expected in (False, True):  # once word by word, once from memory
        if expected:
            encode.expect(texts)
        for text in texts:
            places = sorted(draw.choices(range(1, len(text) + 1), k=2)) if text else []
            found, wanted = encode(text, places=places), whole(text, places=places)
            assert found.ids.tolist() == wanted.ids.tolist(), text
            if kind in ("gpt2", "llama3"):  # places beside a byte that was left out are anybody's
                assert found.before == wanted.before, text


def test_other_tokenizers_are_not_cut():
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    for pre in (
        pre_tokenizers.Metaspace(),
        pre_tokenizers.Whitespace(),
        pre_tokenizers.ByteLevel(add_prefix_space=True),
    ):
        backend.pre_tokenizer = pre
        assert not ends_words_at_spaces(backend)
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert ends_words_at_spaces(backend)
    backend.add_tokens([AddedToken("<x>", lstrip=True, normalized=False)])
    assert not ends_words_at_spaces(backend)
    assert isinstance(encoder(debug_tokenizer()), WholeEncode)


def test_prefix_ends_before_the_first_token_of_the_user(merging_tokenizer):
    segments = [Segment("the answer 天气", False, "context"), Segment("is", True, "answer")]
    encode = encoder(merging_tokenizer)
    for chars in range(1, 13):
        example = tokenize(segments, encode, prefix_chars=chars)
        inside = merging_tokenizer.decode(example.input_ids[: example.prefix_len].tolist())
        following = merging_tokenizer.decode(example.input_ids[: example.prefix_len + 1].tolist()).rstrip("\ufffd")
        assert "the answer 天气".startswith(inside) and len(inside) <= chars
        assert len(following) > chars or following == inside


def test_rendered_conversation_ends_every_supervised_turn_with_the_end_token():
    renderer = small_renderer()
    (segments,) = renderer.render(tool_conversation(3))
    example = tokenize(segments, encoder(renderer.tokenizer))
    ends = example.input_ids[example.kinds == Kind.END]
    assert ends.tolist() == [renderer.end_of_turn_id] * 2
    call = renderer.tokenizer.decode(example.input_ids[example.kinds == Kind.CALL].tolist())
    assert json.dumps("Ort 3") in call
    assert "Ask for 3." in renderer.tokenizer.decode(example.input_ids[example.kinds == Kind.THOUGHT].tolist())


def test_no_target_and_a_target_without_prompt_are_errors():
    encode = encoder(debug_tokenizer())
    with pytest.raises(RenderError, match=r"no token .* carries loss"):
        tokenize([Segment("only context", False, "context")], encode)
    with pytest.raises(RenderError, match="begins with a target"):
        tokenize([Segment("a", True, "answer")], encode)
