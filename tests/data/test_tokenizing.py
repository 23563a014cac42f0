"""Training tokens are serving tokens: prompt first, completion after it, nothing cut, every token of a known kind."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stores import small_renderer, tool_conversation
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from fcdist.data.batch import Kind
from fcdist.data.tokenizing import _SlowEncode, encoder, tokenize
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
    fast = encoder(merging_tokenizer)(text)
    slow = _SlowEncode(merging_tokenizer)(text)
    assert slow == fast


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
