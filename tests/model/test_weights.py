"""Loading: every kind of source, what is kept exact, and what goes wrong."""

import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from forests import FLAT, build_batch, packed_loss
from safetensors.torch import load_file, save_file

import fcdist.model.gguf as gguf
from fcdist.config.types import ModelConfig
from fcdist.errors import ModelError
from fcdist.model.attention import REFERENCE
from fcdist.model.debug import TINY_KINDS, debug_tokenizer, tiny_model
from fcdist.model.weights import load_model, load_tokenizer, locate


def save_checkpoint(folder, dtype=torch.float32):
    tiny_model(dtype=dtype).save_pretrained(folder)
    debug_tokenizer().save_pretrained(folder)
    return folder


@pytest.mark.parametrize("text", ["plain", "Köln 你好 🙂\n\t", '<|im_start|>user\n{"a": [1, 2]}<|im_end|>'])
def test_the_debug_tokenizer_is_lossless(text):
    tokenizer = debug_tokenizer()
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.encode("<|im_end|>") == [tokenizer.eos_token_id]
    assert len(tokenizer) == tiny_model().config.vocab_size


@pytest.mark.parametrize("kind", TINY_KINDS)
def test_tiny_models_depend_on_their_seed_only(kind):
    torch.manual_seed(1)
    first, state = tiny_model(kind, seed=5).state_dict(), torch.get_rng_state()
    torch.manual_seed(2)
    second = tiny_model(kind, seed=5).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(tiny_model(kind, seed=6).lm_head.weight, tiny_model(kind, seed=5).lm_head.weight)
    untied = tiny_model(kind, tied=False)
    assert untied.lm_head.weight is not untied.get_input_embeddings().weight


@pytest.mark.parametrize("source", ["debug", "folder"])
def test_bf16_weights_keep_rope_in_fp32(source, tmp_path):
    path = "debug" if source == "debug" else str(save_checkpoint(tmp_path))
    model = load_model(ModelConfig(path=path), torch.bfloat16)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert model.config._attn_implementation == REFERENCE
    assert not model.training


def test_the_padding_token_s_embedding_learns(tmp_path):
    tiny_model(tied=False).save_pretrained(tmp_path)
    model = load_model(ModelConfig(path=str(tmp_path)), torch.float32)
    batch = build_batch(FLAT)
    batch.input_ids[0, 3] = model.config.pad_token_id
    packed_loss(model, batch).backward()
    assert model.get_input_embeddings().weight.grad[model.config.pad_token_id].any()


def test_a_folder_loads_what_was_saved(tmp_path):
    cfg = ModelConfig(path=str(save_checkpoint(tmp_path)))
    loaded = load_model(cfg, torch.float32).state_dict()
    for name, weight in tiny_model().state_dict().items():
        assert torch.equal(loaded[name], weight)
    assert load_tokenizer(cfg).chat_template == debug_tokenizer().chat_template


def test_missing_weights_are_an_error(tmp_path):
    path = save_checkpoint(tmp_path) / "model.safetensors"
    weights = load_file(path)
    weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"missing keys: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(ModelConfig(path=str(tmp_path)), torch.float32)


def test_torn_weights_are_an_error(tmp_path):
    path = save_checkpoint(tmp_path) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match=rf"model\.path: cannot load from the file '{path}'"):
        load_model(ModelConfig(path=str(tmp_path)), torch.float32)


def test_a_weight_of_another_shape_is_an_error(tmp_path):
    path = save_checkpoint(tmp_path) / "model.safetensors"
    weights = load_file(path)
    weights["model.norm.weight"] = torch.ones(63)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"{path}: size mismatch for model\.norm\.weight: \[63\], the model has .64"):
        load_model(ModelConfig(path=str(tmp_path)), torch.float32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "./nowhere"}, "no such folder"),
        ({"path": "no-such-organisation/no-such-model"}, "hub"),
        ({"package": "no_such_package"}, "pip install no-such-package"),
        ({"package": "not a name"}, "not installed"),
    ],
)
def test_sources_that_are_not_there(settings, message):
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(**settings), torch.float32)


def test_a_missing_gguf_names_those_there(tmp_path):
    (tmp_path / "other.gguf").touch()
    with pytest.raises(ModelError, match=r"no such file .* there: other\.gguf"):
        locate(ModelConfig(path=str(tmp_path), gguf_file="model.gguf"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"point model\.path at its folder"):
        locate(ModelConfig(path=str(tmp_path / "empty"), gguf_file="model.gguf"))


def test_a_file_that_is_no_gguf_is_refused_and_leaves_no_cache(tmp_path, monkeypatch):
    monkeypatch.setenv(gguf.CACHE_ENV, str(tmp_path / "cache"))
    (tmp_path / "bad.gguf").write_bytes(b"not a GGUF at all, but long enough to have a header" * 10)
    with pytest.raises(ModelError, match=r"bad\.gguf"):
        locate(ModelConfig(path=str(tmp_path), gguf_file="bad.gguf"))
    assert not [p for p in (tmp_path / "cache" / "gguf").iterdir() if p.is_dir()]


def test_a_package_is_located_without_importing_it(tmp_path, monkeypatch):
    package = tmp_path / "weights_of_a_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    save_checkpoint(package / "model")
    monkeypatch.syspath_prepend(tmp_path)
    cfg = ModelConfig(package="weights_of_a_model", path="model")
    assert load_model(cfg, torch.float32).config.model_type == "llama"
    assert load_tokenizer(cfg).pad_token_id is not None
    assert "weights_of_a_model" not in sys.modules


def test_chat_template_and_tokenizer_can_be_others(tmp_path):
    save_checkpoint(tmp_path / "model")
    template = tmp_path / "own.jinja"
    template.write_text("{{ messages[0]['content'] }}")
    cfg = ModelConfig(path="debug", tokenizer=str(tmp_path / "model"), chat_template=str(template))
    assert load_tokenizer(cfg).chat_template == template.read_text()
    with pytest.raises(ModelError, match=r"model\.chat_template='gone\.jinja'"):
        load_tokenizer(ModelConfig(chat_template="gone.jinja"))


def test_no_chat_template_and_no_padding_token(tmp_path):
    tokenizer = debug_tokenizer()
    tokenizer.chat_template = None
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no chat template"):
        load_tokenizer(ModelConfig(tokenizer=str(tmp_path)))
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    loaded = load_tokenizer(ModelConfig(tokenizer=str(tmp_path), chat_template=str(tmp_path / "t.jinja")))
    assert loaded.pad_token == loaded.eos_token


def test_two_processes_convert_a_gguf_once(tmp_path, monkeypatch):
    monkeypatch.setenv(gguf.CACHE_ENV, str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")
    conversions = []

    def slow(source: Path, folder: Path) -> None:
        conversions.append(source)
        time.sleep(0.2)
        (folder / "config.json").write_text("{}")

    monkeypatch.setattr(gguf, "convert", slow)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(gguf.converted_folder(file))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(conversions) == 1 and len(set(found)) == 1 and (found[0] / "config.json").is_file()
    file.write_bytes(b"other weights")
    assert gguf.converted_folder(file) != found[0]  # keyed by content


def test_a_torn_conversion_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setenv(gguf.CACHE_ENV, str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"weights")

    def dies(source: Path, folder: Path) -> None:
        (folder / "half").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(gguf, "convert", dies)
    with pytest.raises(KeyboardInterrupt):
        gguf.converted_folder(file)
    assert not [p for p in (tmp_path / "cache" / "gguf").iterdir() if p.is_dir()]
