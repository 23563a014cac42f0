"""ZeRO-3 divides a checkpoint as it is read: no rank holds the whole model, and nothing that is computed changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training.ranks import run_ranks
from training.test_checkpoint import in_turn, run
from training.test_engines import NOTHING_RESIDENT
from training.tiny import TinyLoader, is_same, tiny_config
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from fcdist.config.types import ModelConfig, ZeroConfig
from fcdist.errors import ModelError
from fcdist.model.adapters import apply_tuning, enable_activation_checkpointing, whole_shape
from fcdist.model.debug import tiny_model
from fcdist.model.precision import DTYPES, dtype_of
from fcdist.model.weights import find_files, load_model
from fcdist.training.distributed import get_rank, get_world_size, on_every_rank, seed_step
from fcdist.training.engines.deepspeed_engine import DeepSpeedEngine
from fcdist.training.engines.engine import dividing
from fcdist.training.engines.local_engine import LocalEngine
from fcdist.training.estimates.tracking import LiveTensors
from fcdist.training.loop import train_step
from fcdist.training.loss import LossModule

CPU = torch.device("cpu")


def saved(folder, tied=True, dtype=torch.float32):
    """The tiny model in several files."""
    tiny_model(tied=tied, dtype=dtype).save_pretrained(folder, max_shard_size="50KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


def config_of(folder, stage=3, mode="full", precision="fp32", **train):
    cfg = tiny_config("deepspeed", stage, mode, dropout=0.1 * (mode == "lora"), precision=precision, **train)
    return replace(cfg, model=ModelConfig(path=str(folder)))


def load(cfg, divided=True):
    return load_model(cfg.model, dtype_of(cfg), dividing=dividing(cfg, CPU) if divided else None)


def make_engine(cfg, divided=True):
    tuned = apply_tuning(load(cfg, divided), cfg.tuning, 7)
    if cfg.train.activation_checkpointing:
        enable_activation_checkpointing(tuned)
    module = LossModule(tuned)
    if cfg.zero.engine == "local":
        return LocalEngine(module, cfg, CPU)
    return DeepSpeedEngine(module, cfg, CPU, NOTHING_RESIDENT)


def train_steps(cfg, divided):
    """(trained weights, [(loss, norm)], buffers); weights on rank 0 only."""
    engine = make_engine(cfg, divided)
    engine.train_mode(True)
    loader, history = TinyLoader(3, 5, get_rank(), get_world_size()), []
    for step in (1, 2, 3):
        seed_step(cfg.seed, step, get_rank())
        metrics = train_step(engine, 1, loader.next_step(), cfg.optim.lr)
        history.append((metrics.loss, metrics.grad_norm))
    return engine.trainable_state_dict(), history, dict(engine.model.named_buffers())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("mode", ["full", "lora"])
def test_a_run_is_the_same_bit_for_bit(mode, precision, tied, tmp_path):
    stored = torch.bfloat16 if tied else torch.float32  # of the same precision as the run, and of another
    folder = saved(tmp_path / "model", tied, stored)
    cfg = config_of(folder, mode=mode, precision=precision, activation_checkpointing=tied)
    (expected, whole, buffers), _ = run_ranks(train_steps, 2, tmp_path, cfg, False)
    (actual, history, same), (nothing, other, _) = run_ranks(train_steps, 2, tmp_path, cfg, True)
    assert history == other == whole and is_same(actual, expected) and nothing == {}
    assert is_same(same, buffers) and {buffer.dtype for buffer in same.values()} == {torch.float32}
    assert (tied, mode) != (True, "full") or "lm_head.weight" not in actual


def weights_and_buffers(cfg, divided):
    """Whole weights and buffers, on rank 0."""
    import deepspeed

    model = load(cfg, divided)
    assert all(hasattr(p, "ds_id") == divided and p.numel() for p in model.parameters() if not divided)
    found = dict(model.named_buffers())
    for name, parameter in model.named_parameters():
        with deepspeed.zero.GatheredParameters([parameter], enabled=divided):
            found[name] = parameter.detach().clone()
    return found


ROPE = {
    "linear": {"factor": 2.0},
    "dynamic": {"factor": 2.0},
    "llama3": {
        "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64,
    },
    "yarn": {"factor": 4.0, "original_max_position_embeddings": 64},
    "longrope": {
        "factor": 4.0, "original_max_position_embeddings": 64,
        "short_factor": [1.1, 1.3, 1.7, 2.3, 2.9, 3.1, 3.7, 4.1],
        "long_factor": [1.2, 1.4, 1.9, 2.7, 3.3, 3.9, 4.3, 4.9],
    },
}  # fmt: skip
"""Ways to stretch positions; none may lose precision where the model is built under DeepSpeed's rules for dtypes."""
SMALL = {
    "vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256,
}  # fmt: skip


@pytest.mark.parametrize("kind", [*ROPE, "experts"])
def test_what_is_loaded_is_the_same_bit_for_bit(kind, tmp_path):
    """Also where the files hold other tensors than the model: one for each expert."""
    if kind == "experts":
        moe = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        model = Qwen3MoeForCausalLM(Qwen3MoeConfig(**SMALL, **moe))
    else:
        rope = {"rope_type": kind, "rope_theta": 10000.0, **ROPE[kind]}
        model = LlamaForCausalLM(LlamaConfig(**SMALL, rope_parameters=rope))
    model.save_pretrained(tmp_path / "model", max_shard_size="100KB")
    cfg = config_of(tmp_path / "model", precision="bf16")
    expected, _ = run_ranks(weights_and_buffers, 2, tmp_path, cfg, False)
    assert expected["model.rotary_emb.inv_freq"].dtype == torch.float32
    for actual in run_ranks(weights_and_buffers, 2, tmp_path, cfg, True):
        assert is_same(actual, expected)


class OwnTensors(LiveTensors):
    """Leaves out tensors in mapped files: their pages are the page cache's, shared and given back when needed."""

    def add(self, *tensors):
        super().add(*(tensor for tensor in tensors if not is_mapped(tensor)))


def is_mapped(tensor):
    address = tensor.untyped_storage().data_ptr()
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(".safetensors"):
            start, stop = (int(end, 16) for end in line.split()[0].split("-"))
            if start <= address < stop:
                return True
    return False


def bytes_of_loading(cfg):
    """(most bytes alive, bytes alive afterwards, bytes of the whole model, bytes of its largest module)."""
    with OwnTensors() as tracker:
        model = load(cfg)
        peak, after = tracker.peak, tracker.live
    size = dtype_of(cfg).itemsize
    modules = [sum(whole_shape(p).numel() for p in m.parameters(recurse=False)) for m in model.modules()]
    return peak, after, size * sum(whole_shape(p).numel() for p in model.parameters()), size * max(modules)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stored", ["fp32", "bf16"])
def test_no_rank_holds_the_whole_model(stored, precision, tmp_path):
    shape = {**SMALL, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 12}
    model = LlamaForCausalLM(LlamaConfig(**shape)).to(DTYPES[stored])
    model.save_pretrained(tmp_path / "model", max_shard_size="500KB")
    cfg = config_of(tmp_path / "model", precision=precision)
    for peak, after, whole, largest in run_ranks(bytes_of_loading, 2, tmp_path, cfg):
        assert after < 0.51 * whole  # half of it, padding and buffers
        assert peak < after + 3 * largest < 0.7 * whole
    model = load(cfg, divided=False)
    assert {is_mapped(p) for p in model.parameters()} == {stored == precision}


def failure(cfg):
    """What every rank raises."""
    try:
        on_every_rank(lambda: find_files(cfg.model))
        on_every_rank(lambda: load(cfg))
    except ModelError as error:
        return str(error)
    return None


def edited(folder, change):
    """Change the tensors of the file that holds a certain one; return its path and the name of the tensor."""
    name = "model.layers.1.mlp.up_proj.weight"
    for path in folder.glob("*.safetensors"):
        weights = load_file(path)
        if name in weights:
            change(weights, name)
            save_file(weights, path, metadata={"format": "pt"})
            return path, name
    raise AssertionError(name)


@pytest.mark.parametrize("stage", [2, 3])
def test_a_tensor_that_is_missing_or_of_another_shape_is_named_on_every_rank(stage, tmp_path):
    cfg = config_of(saved(tmp_path / "shape"), stage)
    path, name = edited(tmp_path / "shape", lambda weights, name: weights.update({name: torch.zeros(64, 128)}))
    told = run_ranks(failure, 2, tmp_path, cfg)
    assert told[0] == told[1] and str(path) in told[0] and f"size mismatch for {name}" in told[0]
    cfg = config_of(saved(tmp_path / "missing"), stage)
    edited(tmp_path / "missing", lambda weights, name: weights.pop(name))
    told = run_ranks(failure, 2, tmp_path, cfg)
    assert told[0] == told[1] and str(tmp_path / "missing") in told[0] and f"missing keys: {name}" in told[0]


def failure_of_one(cfg, other):
    """What every rank raises if the last one sees another folder, say on its own disk."""
    return failure(replace(cfg, model=ModelConfig(path=str(other))) if get_rank() else cfg)


def test_files_that_one_rank_lacks_are_named_on_every_rank_before_any_is_read(tmp_path):
    cfg, other = config_of(saved(tmp_path / "model")), saved(tmp_path / "other")
    torn, gone = sorted(other.glob("*.safetensors"))[:2]
    torn.write_bytes(torn.read_bytes()[:-1])
    told = run_ranks(failure_of_one, 2, tmp_path, cfg, other)
    assert told[0] == told[1] and told[0].startswith(f"rank 1: model.path: cannot load from the file '{torn}'")
    torn.write_bytes((tmp_path / "model" / torn.name).read_bytes())
    gone.unlink()
    told = run_ranks(failure_of_one, 2, tmp_path, cfg, other)
    assert told[0] == told[1] and str(gone) in told[0]


@pytest.mark.parametrize(("mode", "precision"), [("full", "bf16"), ("lora", "fp32")])
def test_a_divided_run_resumes_bit_for_bit_and_on_other_stages(mode, precision, tmp_path, monkeypatch):
    monkeypatch.setattr("training.test_checkpoint.make_engine", make_engine)
    cfg = config_of(saved(tmp_path / "model"), mode=mode, precision=precision, save_every=1)
    (whole, first, _, rest, _), _ = run_ranks(in_turn, 2, tmp_path, cfg, tmp_path)
    assert first[2] + rest[2] == whole[2] and is_same(rest[1], whole[1])
    for zero in (ZeroConfig(engine="deepspeed", stage=2), ZeroConfig(engine="local")):
        ((code, taken, nothing),) = run_ranks(run, 1, tmp_path, replace(cfg, zero=zero), tmp_path / "whole")
        assert code == 0 and nothing == [] and is_same(taken, whole[1])
