"""Rows shared by several ranks: losses and gradients are those of one rank, memory outside attention is a share."""

from dataclasses import replace

import pytest
import torch
from model.forests import Tree, build_batch, conversations, gradients, grow, relative_error
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from training.ranks import run_ranks
from training.test_engines import NOTHING_RESIDENT
from training.test_tree_steps import EPSILON, attending, step_gradients, tuned
from training.tiny import tiny_config

from fcdist.config.types import BatchConfig, Config, OptimConfig
from fcdist.data.batch import Batch
from fcdist.data.collating import filler, part_of_row
from fcdist.errors import ConfigError, ModelError
from fcdist.model.attention import FLASH, attend_reference, set_attention
from fcdist.model.debug import TinyKind, tiny_model
from fcdist.model.forest import Layout
from fcdist.model.sequence_parallel import SequenceGroup, check_heads
from fcdist.training.distributed import get_rank, get_world_size
from fcdist.training.engines.deepspeed_engine import DeepSpeedEngine
from fcdist.training.engines.local_engine import LocalEngine
from fcdist.training.loss import LossModule
from fcdist.training.records.metrics import gather_packs
from fcdist.training.watching.failures import BadPack

CPU = torch.device("cpu")


def rows() -> list[Batch]:
    """Trees with several targets at branch points, of lengths that two ranks do not divide, and a filler."""
    return [grow(conversations()), grow(conversations()[3:]), grow(conversations(seed=1)), filler()]


def parts(cfg: Config) -> list[Batch]:
    """What this rank holds of them."""
    dp_rank, part = divmod(get_rank(), cfg.batch.sequence_parallel)
    mine = rows()[dp_rank :: cfg.batch.dp_world_size(get_world_size())]
    return [part_of_row(row, part, cfg.batch.sequence_parallel) for row in mine]


def shared_gradients(cfg: Config, kind: TinyKind, attention: str):
    torch.set_default_dtype(torch.float32)
    module = LossModule(attending(cfg, kind, attention), group=SequenceGroup.join(cfg.batch.sequence_parallel, 30))
    local = cfg.zero.engine == "local"
    engine = LocalEngine(module, cfg, CPU) if local else DeepSpeedEngine(module, cfg, CPU, NOTHING_RESIDENT)
    return step_gradients(engine, parts(cfg))


@pytest.mark.parametrize(
    ("engine", "stage", "mode", "kind", "size", "world_size", "checkpointing"),
    [
        ("local", 2, "full", "llama", 2, 2, False),
        ("local", 2, "lora", "qwen2", 2, 2, True),
        ("local", 2, "full", "mistral", 4, 4, False),  # more ranks than key heads
        ("local", 2, "lora", "qwen3", 2, 4, False),
        ("deepspeed", 1, "full", "qwen3", 2, 2, False),
        ("deepspeed", 2, "full", "qwen2", 2, 2, True),
        ("deepspeed", 2, "lora", "llama", 2, 4, False),
        ("deepspeed", 3, "full", "qwen3", 2, 2, True),
        ("deepspeed", 3, "lora", "llama", 2, 2, False),
        ("deepspeed", 3, "full", "qwen2", 2, 4, False),
    ],
)
def test_ranks_that_share_rows_give_the_gradients_of_one(
    engine, stage, mode, kind, size, world_size, checkpointing, tmp_path
):
    cfg = tiny_config(engine, stage, mode, activation_checkpointing=checkpointing)
    optim = OptimConfig(eps=EPSILON, max_grad_norm=0.0)
    cfg = replace(cfg, optim=optim, batch=replace(cfg.batch, sequence_parallel=size))
    model = tuned(cfg, kind)
    set_attention(model, FLASH)
    alone = sum(LossModule(model)(row)[0] for row in rows())
    expected = gradients(model, alone)
    ranks = run_ranks(shared_gradients, world_size, tmp_path, cfg, kind, FLASH)
    assert sum(loss for loss, _ in ranks) == pytest.approx(alone.item(), rel=1e-6)
    assert relative_error(ranks[0][1], expected) < 1e-5


def exchanged_attention(num_heads: int, num_key_heads: int) -> list[float]:
    """Errors of output and gradients of this rank against attention of the whole row, with values of another width."""
    torch.manual_seed(0)
    row = build_batch((Tree(20, (Tree(9), Tree(7))), Tree(12)))
    num_tokens, group = row.input_ids.shape[1], SequenceGroup.join(get_world_size(), 30)
    shapes = ((num_heads, 16), (num_key_heads, 16), (num_key_heads, 8))
    inputs = [torch.randn(1, heads, num_tokens, width, dtype=torch.float64) for heads, width in shapes]
    weights = torch.randn(1, num_tokens, num_heads, 8, dtype=torch.float64)

    def attend(stretch: slice, group: SequenceGroup | None) -> list[torch.Tensor]:
        leaves = [each[:, :, stretch].clone().requires_grad_() for each in inputs]
        layout = Layout(row.segments, num_tokens, group)
        output, _ = attend_reference(nn.Module(), *leaves, None, segments=layout)
        return [output.detach().transpose(1, 2), *torch.autograd.grad((output * weights[:, stretch]).sum(), leaves)]

    length = num_tokens // get_world_size()
    stretch = slice(get_rank() * length, (get_rank() + 1) * length)
    whole, mine = attend(slice(None), None), attend(stretch, group)
    return [float((a[:, :, stretch] - b).abs().max()) for a, b in zip(whole, mine, strict=True)]


@pytest.mark.parametrize(("num_heads", "num_key_heads", "ranks"), [(12, 3, 2), (6, 1, 3), (8, 8, 4), (12, 6, 4)])
def test_any_number_of_key_heads_is_shared(num_heads, num_key_heads, ranks, tmp_path):
    for errors in run_ranks(exchanged_attention, ranks, tmp_path, num_heads, num_key_heads):
        assert max(errors) < 1e-12


def saved_bytes(size: int) -> int:
    """Memory that this rank keeps between forward and backward, the weights aside."""
    torch.set_default_dtype(torch.float32)
    model = tiny_model("llama")
    set_attention(model, FLASH)
    module = LossModule(model, group=SequenceGroup.join(size, 30))
    forest = [Tree(96, (Tree(40), Tree(56), Tree(33))), Tree(99)] * 3
    batch = part_of_row(build_batch(forest), get_rank() % size, size)
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        loss, _ = module(batch)
    assert loss.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


OUTPUTS = 2 * 3 * 324 * 64 * 4
"""Attention outputs of two layers are kept twice: by heads for attention, by tokens for the projection."""


def test_each_rank_keeps_its_share_of_the_activations(tmp_path):
    (whole,) = run_ranks(saved_bytes, 1, tmp_path, 1)
    shares = run_ranks(saved_bytes, 2, tmp_path, 2)
    assert sum(shares) == pytest.approx(whole + OUTPUTS, rel=0.002)
    assert max(shares) < 0.53 * whole


def test_a_part_holds_the_targets_of_its_own_tokens():
    row = build_batch((Tree(5, (Tree(4), Tree(3))), Tree(2)))
    quarters = [part_of_row(row, part, 4) for part in range(4)]
    assert row.input_ids.shape[1] == 14
    assert (
        [quarter.input_ids.shape for quarter in quarters]
        == [quarter.position_ids.shape for quarter in quarters]
        == [(1, 4)] * 4
    )
    tokens = torch.cat([quarter.input_ids for quarter in quarters], dim=1)[0]
    positions = torch.cat([quarter.position_ids for quarter in quarters], dim=1)[0]
    assert torch.equal(tokens[:14], row.input_ids[0]) and torch.equal(positions[:14], row.position_ids[0])
    segments = quarters[0].segments
    assert (segments.start[-1], segments.end[-1], segments.parent[-1]) == (14, 16, -1) and positions[14:].tolist() == [
        0,
        1,
    ]
    whole = zip(row.target_index.tolist(), row.target_ids.tolist(), row.target_weights.tolist(), strict=True)
    found = [
        (index + 4 * part, target, weight)
        for part, quarter in enumerate(quarters)
        for index, target, weight in zip(
            quarter.target_index.tolist(), quarter.target_ids.tolist(), quarter.target_weights.tolist(), strict=True
        )
    ]
    assert sorted(found) == sorted(whole)
    assert all(
        quarter.segments == segments and ((quarter.target_index >= 0) & (quarter.target_index < 4)).all()
        for quarter in quarters
    )


def test_what_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"batch.sequence_parallel=0 must be positive"):
        BatchConfig(sequence_parallel=0)
    batch = BatchConfig(global_batch_size=4, sequence_parallel=2)
    assert batch.accumulation_steps(4) == 2
    with pytest.raises(ConfigError, match=r"batch.sequence_parallel=2 does not divide the 3 rank\(s\) of the run"):
        batch.accumulation_steps(3)
    with pytest.raises(ConfigError, match=r"sequence_parallel=3 does not divide the 4 attention heads .* 1, 2, 4"):
        check_heads(tiny_model(), 3)


def named_packs() -> list[BadPack]:
    mine = [BadPack(get_rank(), 1, (3, 4), 0.5), BadPack(get_rank(), 2, (), 0.0)]
    return gather_packs([*mine, BadPack(1, 3, (5,))] if get_rank() else mine)


def test_a_pack_of_several_ranks_is_named_once(tmp_path):
    once = [BadPack(0, 1, (3, 4), 1.0), BadPack(0, 2, (), 0.0), BadPack(1, 2, (), 0.0), BadPack(1, 3, (5,))]
    assert run_ranks(named_packs, 2, tmp_path) == [once, once]


def shared_unevenly() -> str:
    group = SequenceGroup.join(2, 30)
    heads = torch.zeros(1, 3, 4, 8)
    with pytest.raises(ModelError) as caught:
        group.to_heads(heads, heads, heads)
    return str(caught.value)


def test_a_layer_with_other_heads_than_the_config_says_is_refused(tmp_path):
    message = "2 ranks cannot share the 3 attention heads of a layer evenly"
    assert run_ranks(shared_unevenly, 2, tmp_path) == [message, message]
