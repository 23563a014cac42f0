"""Estimates against what is measured: memory by counting live tensors, on one rank and under ZeRO on two."""

import gc
import io
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from ranks import run_ranks
from rich.console import Console
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from fcdist.config.types import (
    BatchConfig,
    Config,
    LaunchConfig,
    ModelConfig,
    PreflightConfig,
    TrainConfig,
    TuningConfig,
    ZeroConfig,
)
from fcdist.data.balance import GlobalBatch
from fcdist.data.batch import Batch, Segments
from fcdist.errors import ModelError
from fcdist.model.adapters import apply_tuning, clear_padding_row, enable_activation_checkpointing
from fcdist.model.attention import REFERENCE, set_attention
from fcdist.model.debug import tiny_model
from fcdist.model.outline import outline_model
from fcdist.model.precision import dtype_of
from fcdist.training.engines.engine import build_engine
from fcdist.training.estimates import activations, memory
from fcdist.training.estimates.activations import count_weights, estimate_activations, outline
from fcdist.training.estimates.fitting import advice, fitting_settings, single_changes
from fcdist.training.estimates.flops import Shape, attended_pairs
from fcdist.training.estimates.hardware import GIB, GPUS
from fcdist.training.estimates.memory import estimate_memory, loading_bytes, state_parts
from fcdist.training.estimates.report import print_host_memory
from fcdist.training.estimates.tracking import LiveTensors
from fcdist.training.estimates.work import attended_pairs_of, checkpoint_bytes, estimate_work
from fcdist.training.loss import LossModule

SMALL = {
    "vocab_size": 4096, "hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6,
    "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 64, "tie_word_embeddings": True,
}  # fmt: skip
"""SmolLM2's form at a third of its width."""
TOKENS, TARGETS = 384, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint's folder with nothing in it but the config: no estimate reads a weight."""
    path = tmp_path_factory.mktemp("model")
    LlamaConfig(**SMALL, architectures=["LlamaForCausalLM"]).save_pretrained(path)
    return path


def config(folder, mode="lora", precision="bf16", engine="deepspeed", stage=2, checkpointing=False, bucket=50_000):
    return Config(
        model=ModelConfig(path=str(folder)),
        batch=BatchConfig(seq_len=TOKENS, examples_per_prefix=1),
        tuning=TuningConfig(mode=mode),
        zero=ZeroConfig(engine=engine, stage=stage, bucket_size=bucket),
        train=TrainConfig(precision=precision, activation_checkpointing=checkpointing),
    )


def real_module(cfg):
    """The same model with weights."""
    base = LlamaForCausalLM._from_config(LlamaConfig(**SMALL), dtype=dtype_of(cfg))
    clear_padding_row(base)
    set_attention(base, REFERENCE)
    model = apply_tuning(base, cfg.tuning)
    if cfg.train.activation_checkpointing:
        enable_activation_checkpointing(model)
    model.train()
    return LossModule(model)


def batch(tokens=TOKENS, targets=TARGETS):
    return Batch(
        torch.randint(4, 4096, (1, tokens)), torch.arange(tokens)[None], Segments((0,), (tokens,), (-1,), (0,)),
        torch.arange(targets), torch.randint(4, 4096, (targets,)), torch.ones(targets),
        torch.ones(targets, dtype=torch.int8),
    )  # fmt: skip


def test_every_storage_counts_once_and_until_it_is_freed():
    with LiveTensors() as tracker:
        whole = torch.zeros(1000)
        view = whole[:10].view(2, 5)
        assert tracker.live == 4000
        doubled = whole * 2
        del whole
        assert tracker.live == 8000  # the view keeps it
        del view
        assert tracker.live == 4000 and tracker.peak == 8000
        assert tracker.restart() == 8000 and tracker.peak == 4000
        elsewhere = torch.zeros(1000, device="meta")
        assert tracker.live == 4000 and elsewhere.shape == doubled.shape


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_are_those_of_a_real_pass(folder, mode, precision, checkpointing):
    cfg = config(folder, mode, precision, checkpointing=checkpointing)
    estimated = estimate_activations(cfg, TOKENS, TARGETS)
    module = real_module(cfg)
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p: setattr(p, "grad", None))
    with LiveTensors() as tracker:
        tracker.add(*module.parameters(), *module.buffers())
        before = tracker.live
        loss, kinds = module(batch())
        kept = tracker.live - before
        loss.backward()
        peak = tracker.peak - before
    logits = TARGETS * SMALL["vocab_size"] * dtype_of(cfg).itemsize
    assert estimated.kept == pytest.approx(kept - logits, rel=0.15)
    assert estimated.peak == pytest.approx(peak, rel=0.15)
    assert len(kinds) and peak > kept


def test_checkpointing_keeps_less_and_a_longer_row_more(folder):
    cfg = config(folder)
    recomputed = config(folder, checkpointing=True)
    assert estimate_activations(recomputed, TOKENS, 8).kept < 0.25 * estimate_activations(cfg, TOKENS, 8).kept
    once, twice = (estimate_activations(cfg, n * TOKENS, 8).kept for n in (1, 2))
    assert twice == pytest.approx(2 * once, rel=0.02)


def test_a_row_with_branches_keeps_what_the_cascade_needs(folder):
    cfg = config(folder)
    shared = replace(cfg, batch=replace(cfg.batch, examples_per_prefix=8))
    flat, tree = estimate_activations(cfg, TOKENS, 8), estimate_activations(shared, TOKENS, 8)
    assert tree.peak >= flat.peak and tree.kept == pytest.approx(flat.kept, rel=0.02)


def test_depth_is_a_straight_line(folder):
    cfg = config(folder)
    line = estimate_activations(cfg, TOKENS, TARGETS)
    whole = activations._run(outline(cfg), cfg, TOKENS, TARGETS)
    assert line.kept == whole.kept and line.head == whole.head and line.layer == pytest.approx(whole.layer, rel=0.01)


def parts_of(cfg, world_size):
    return {part.name: part.bytes for part in state_parts(cfg, count_weights(outline(cfg)), world_size)[0]}


@pytest.mark.parametrize("mode", ["lora", "full"])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_states_of_the_local_engine_are_exact(folder, mode, precision):
    cfg = config(folder, mode, precision, engine="local")
    parts = parts_of(cfg, 1)
    module = real_module(cfg)
    weights = [p for p in module.parameters() if p.requires_grad]
    engine = build_engine(module, cfg, torch.device("cpu"))
    loss, _ = engine(batch(64, 8))
    engine.backward(loss)
    size = dtype_of(cfg).itemsize
    assert parts["trained weights"] == sum(p.numel() for p in weights) * size
    assert parts["frozen weights"] == sum(p.numel() for p in module.parameters() if not p.requires_grad) * size
    masters = list(engine._masters.values())
    assert parts["fp32 masters"] == sum(4 * m.numel() for m in masters if not any(m is w for w in weights))
    held = sum(4 * m.grad.numel() for m in masters)
    in_flight = held // 2 if precision == "bf16" else 0  # gone by the end of `backward`
    assert parts["gradients"] == held + in_flight
    engine.step(1e-4)
    moments = [t for state in engine._optimizer.state.values() for t in state.values() if t.ndim]
    assert parts["optimizer moments"] == sum(4 * t.numel() for t in moments)
    assert checkpoint_bytes(cfg) == sum(p.numel() for p in weights) * (12 + size)


def settled(tracker, readings=10, pause_s=0.05):
    """Live bytes without what is about to go: circles, and tensors that gloo's thread holds a moment after `wait`."""
    gc.collect()
    live = []
    for _ in range(readings):
        time.sleep(pause_s)
        live.append(tracker.live)
    return min(live)


def measure(cfg):
    """Live bytes of a rank before and after the backward of its second step, and the most in between."""
    with LiveTensors() as tracker:
        module = real_module(cfg)
        tracker.add(*module.parameters(), *module.buffers())
        engine = build_engine(module, cfg, torch.device("cpu"))
        engine.train_mode(True)
        for _ in range(2):
            rest = tracker.live
            tracker.restart()
            for _ in range(2):
                loss, kinds = engine(batch())
                engine.backward(loss)
                del loss, kinds
            peak, after = tracker.peak, settled(tracker)
            engine.step(1e-4)
    return rest, after, peak


@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize(("mode", "precision"), [("lora", "bf16"), ("full", "bf16"), ("full", "fp32")])
def test_zero_on_two_ranks_is_as_estimated(folder, tmp_path, stage, mode, precision):
    cfg = config(folder, mode, precision, stage=stage)
    parts = parts_of(cfg, 2)
    gradients = parts.pop("gradients")
    plan = estimate_memory(cfg, 2, TARGETS)
    assumed = {"allocator", "CUDA context, NCCL"}
    estimated = sum(part.bytes for part in plan.parts if part.name not in assumed)
    for rest, after, peak in run_ranks(partial(measure, cfg), 2, tmp_path):
        # Stage 3, and stage 1 in bf16, hold the room of the fp32 gradients from step to step.
        whole = 4 * parts["trained weights"] // 2 if stage == 1 and precision == "bf16" else 0
        steady = sum(parts.values()) + (gradients if stage == 3 else whole)
        buffers = 4 * cfg.zero.bucket_size if stage == 3 else 0
        assert rest == pytest.approx(steady + buffers, rel=0.02)
        assert after == pytest.approx(sum(parts.values()) + gradients + buffers, rel=0.02)
        assert estimated == pytest.approx(peak, rel=0.15)


def test_offload_moves_the_optimizer_to_the_host(folder):
    cfg = config(folder, "full")
    offloaded = replace(cfg, zero=replace(cfg.zero, offload_optimizer=True))
    trained = count_weights(outline(cfg)).trained
    plan = estimate_memory(offloaded, 4)
    assert plan.host_bytes == 16 * trained // 4
    assert plan.peak == estimate_memory(cfg, 4).peak - plan.host_bytes


def test_flops_of_full_tuning_and_of_recomputation():
    model = tiny_model()
    model.requires_grad_(True)
    full = Shape.of(model)
    linear = sum(p.numel() for n, p in model.named_parameters() if "_proj" in n and p.ndim == 2)
    assert full.trained_weights == linear and full.frozen_weights == 0 and full.head_trains
    assert full.cost(10, 0, 0).total == 6 * linear * 10
    assert full.cost(10, 0, 0, checkpointing=True).total == 8 * linear * 10
    adapted = Shape.of(apply_tuning(tiny_model(), TuningConfig(r=4)))
    assert adapted.frozen_weights == linear and not adapted.head_trains
    assert adapted.cost(10, 0, 0).linear == 10 * (4 * linear + 6 * adapted.trained_weights)
    pair = adapted.cost(0, 1, 0).total
    assert pair == 2 * 14 * 64 and adapted.cost(0, 1, 0, checkpointing=True).total == 2 * 18 * 64


@pytest.mark.parametrize("checkpointing", [False, True])
def test_flops_are_those_that_torch_counts(checkpointing):
    """Attention apart: torch counts the products of a dense square."""
    from torch.utils.flop_counter import FlopCounterMode

    cfg = Config(tuning=TuningConfig(mode="full"), train=TrainConfig(activation_checkpointing=checkpointing))
    model = outline(cfg)
    tokens, targets = 64, 16
    row = batch(tokens, targets).to(torch.device("meta"))
    with FlopCounterMode(display=False) as counter:
        loss, _ = LossModule(model)(row)
        loss.backward()
    expected = Shape.of(model).cost(tokens, 0, targets, checkpointing).total
    # torch stops recomputing a layer where nothing more is needed: before its last product
    skipped = 2 * tokens * sum(p.numel() for n, p in model.named_parameters() if "down_proj" in n) * checkpointing
    assert counter.get_total_flops() == expected - skipped


def test_pairs_of_a_plan_are_those_of_its_forest():
    batch_config = BatchConfig()
    segments = Segments((0, 30, 40), (30, 40, 50), (-1, 0, 0), (0, 30, 30))
    pairs = attended_pairs(segments)
    cost = int(2 * (50 * batch_config.token_cost + 7 * batch_config.target_cost) + 2 * pairs)
    step = GlobalBatch(((0, 1),), (cost,), 7, 80, 50)
    assert attended_pairs_of(step, batch_config) == pairs


def test_hours_follow_flops_rate_and_ranks(folder):
    cfg = replace(config(folder), batch=BatchConfig(seq_len=100, global_batch_size=2), train=TrainConfig(epochs=3))
    step = GlobalBatch(((0,), (1,)), (1_300_000, 1_300_000), 20, 100, 100)
    work = estimate_work(cfg, [step, step], 2)
    assert work.steps == 6 and work.idle_share == 0
    rate = GPUS["h100"].bf16_flops * 0.4 * 2
    assert work.hours == pytest.approx(6 * work.flops_per_step / rate / 3600)
    faster = replace(cfg, preflight=PreflightConfig(gpu="h200", mfu=0.8))
    assert estimate_work(faster, [step, step], 2).hours == pytest.approx(work.hours / 2)
    more = estimate_work(cfg, [step, step], 2, scale=10)
    assert more.hours == pytest.approx(10 * work.hours, rel=0.01)


@pytest.mark.parametrize(
    ("engine", "stage", "told"),
    [
        ("deepspeed", 3, "host memory of a node: 0.1 GiB while loading; 0.0 GiB of offloaded optimizer"),
        ("deepspeed", 2, "host memory of a node: 0.4 GiB while loading if the files are in bf16, 3.5 GiB if not; 0.0"),
        ("local", 1, "host memory of a node: 0.4 GiB while loading if the files are in bf16, 3.5 GiB if not; 0.0"),
    ],
)
def test_the_host_needs_a_tensor_the_model_once_or_once_a_rank(engine, stage, told, tmp_path):
    shape = {**SMALL, "vocab_size": 32_768, "hidden_size": 1920, "intermediate_size": 4096, "num_hidden_layers": 7}
    LlamaConfig(**shape, architectures=["LlamaForCausalLM"]).save_pretrained(tmp_path)
    cfg = replace(config(tmp_path, engine=engine, stage=stage), launch=LaunchConfig(nproc_per_node=8))
    console = Console(file=io.StringIO(), width=200)
    print_host_memory(console, cfg, estimate_memory(cfg, 8))
    assert console.file.getvalue().startswith(told)
    debug = replace(cfg, model=ModelConfig(path="debug"))
    whole = 8 * 2 * count_weights(outline(debug)).total
    assert loading_bytes(debug, count_weights(outline(debug))) == (whole, whole)


def test_what_fits_is_tried_and_fits(folder):
    cfg = replace(config(folder, "full"), batch=BatchConfig(seq_len=4096, micro_batch_size=4))
    plan = estimate_memory(cfg, 4)
    enough = plan.peak - (plan.peak - memory.CONTEXT) // 2
    found = fitting_settings(cfg, 4, 0.5, enough)
    assert [a.overrides for a in found][:2] == ["batch.micro_batch_size=1", "train.activation_checkpointing=true"]
    assert all(a.plan.peak <= enough < plan.peak for a in found)
    assert fitting_settings(cfg, 4, 0.5, memory.CONTEXT) == []
    together = fitting_settings(cfg, 4, 0.5, int(memory.CONTEXT * 1.05))
    assert together and all(" " in a.overrides for a in together)


def named(cfg: Config, world_size: int) -> list[str]:
    return [change.overrides for change in single_changes(cfg, world_size)]


def test_changes_depend_on_the_ranks(folder):
    cfg = replace(config(folder, "full"), batch=BatchConfig(seq_len=2048), zero=ZeroConfig(engine="local"))
    alone = ["train.activation_checkpointing=true", "zero=zero3_offload", "batch.seq_len=1024", "tuning=lora"]
    assert named(cfg, 1) == alone
    sharding = ["zero=zero2", "zero=zero3", "batch.sequence_parallel=3"]
    assert named(cfg, 6) == [alone[0], *sharding, *alone[1:]]


def test_more_ranks_share_a_pack_only_where_ranks_and_heads_divide(folder):
    """The model has three attention heads."""

    def more(now: int, world_size: int) -> list[str]:
        names = named(replace(config(folder), batch=BatchConfig(sequence_parallel=now)), world_size)
        return [name.partition("sequence_parallel=")[2] for name in names if "sequence_parallel" in name]

    cases = {(1, 1): [], (1, 2): [], (1, 3): ["3"], (1, 5): [], (1, 6): ["3"], (3, 3): [], (3, 6): [], (3, 9): []}
    assert {case: more(*case) for case in cases} == cases


def test_every_change_is_one_that_lowers_the_estimate(folder):
    batch = BatchConfig(seq_len=2048, micro_batch_size=2)
    cfg = replace(config(folder, "full"), batch=batch, zero=ZeroConfig(engine="local"))
    peak = estimate_memory(cfg, 6).peak
    for change in single_changes(cfg, 6):
        if change.key != "zero":  # ZeRO-3's buffers may outweigh what it divides of so small a model
            assert estimate_memory(change.apply(cfg), 6).peak < peak, change.overrides


def test_advice_names_the_mildest_change_of_each_setting_and_none_that_is_made(folder):
    cfg = replace(config(folder, "full", checkpointing=True), zero=ZeroConfig(engine="local"))
    cfg = replace(cfg, batch=BatchConfig(seq_len=4096, micro_batch_size=2))
    assert advice(cfg, 6) == (
        "What would help: batch.micro_batch_size=1 (now 2); zero=zero2 (shards the optimizer over 6 ranks); "
        "batch.sequence_parallel=3 (now 1; so many ranks divide the activations of a pack)"
    )
    assert "zero=zero3_offload" in advice(cfg, 1) and "sequence_parallel" not in advice(cfg, 1)
    done = replace(cfg, zero=ZeroConfig(stage=3, offload_optimizer=True), batch=BatchConfig(seq_len=1024))
    assert advice(done, 1).startswith("What would help: tuning=lora (") and advice(done, 1).count("more ranks") == 1


def test_advice_comes_also_where_the_model_cannot_be_outlined(folder):
    cfg = replace(config(folder), model=ModelConfig(path="/nowhere"))
    assert "train.activation_checkpointing=true" in advice(cfg, 6) and "sequence_parallel" not in advice(cfg, 6)


def test_a_model_that_cannot_be_packed_or_run_on_shapes_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"model\.path"):
        outline_model(ModelConfig(path=str(tmp_path)), torch.bfloat16)
    Qwen3Config(**SMALL, architectures=[Qwen3ForCausalLM.__name__], attention_dropout=0.1).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="attention_dropout"):
        outline_model(ModelConfig(path=str(tmp_path)), torch.bfloat16)


def test_the_outline_has_the_weights_of_the_model_and_no_memory(folder):
    cfg = config(folder)
    model = outline(cfg)
    assert all(p.is_meta for p in model.parameters())
    real = {name: p.shape for name, p in real_module(cfg).model.named_parameters()}
    assert {name: p.shape for name, p in model.named_parameters()} == real
    assert all(gpu.memory < 300 * GIB and gpu.source for gpu in GPUS.values())


def test_where_a_row_is_short_the_update_is_the_peak(folder):
    cfg = config(folder, "full", bucket=1000)
    names = [part.name for part in estimate_memory(cfg, 1, targets=1, tokens=8).parts]
    assert "optimizer step" in names and "activations" not in names
    assert "activations" in [part.name for part in estimate_memory(cfg, 1).parts]
