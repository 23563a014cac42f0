"""What `train.precision=auto` means, on hardware with and without bf16."""

from dataclasses import replace

import pytest
import torch

from fcdist.config.types import Config, TrainConfig
from fcdist.model.precision import dtype_of, multiplies_bf16, resolve_precision, slow_precision


def with_cpu(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **capabilities}, raising=False)


def with_gpu(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)


@pytest.mark.parametrize(
    ("capabilities", "precision", "dtype"),
    [
        ({}, "fp32", torch.float32),
        ({"avx512_bf16": False}, "fp32", torch.float32),
        ({"avx512_bf16": True}, "bf16", torch.bfloat16),
        ({"amx_bf16": True}, "bf16", torch.bfloat16),
        ({"bf16": True}, "bf16", torch.bfloat16),
    ],
)
def test_auto_is_bf16_where_the_cpu_has_instructions_for_it(monkeypatch, capabilities, precision, dtype):
    with_cpu(monkeypatch, **capabilities)
    assert resolve_precision(Config()).train.precision == precision
    assert dtype_of(Config()) == dtype


def test_a_torch_that_tells_nothing_of_the_cpu_means_fp32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not multiplies_bf16()


def test_a_gpu_decides_by_itself_and_not_by_the_cpu_beside_it(monkeypatch):
    with_cpu(monkeypatch, avx512_bf16=True)
    with_gpu(monkeypatch, has_bf16=False)
    assert resolve_precision(Config()).train.precision == "fp32"
    assert multiplies_bf16("cpu")
    with_gpu(monkeypatch, has_bf16=True)
    assert resolve_precision(Config()).train.precision == "bf16"


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_what_is_asked_for_stays(monkeypatch, precision):
    with_cpu(monkeypatch, avx512_bf16=precision == "fp32")
    cfg = replace(Config(), train=TrainConfig(precision=precision))
    assert resolve_precision(cfg) == cfg


def test_another_machine_can_be_meant():
    assert resolve_precision(Config(), has_bf16=True).train.precision == "bf16"
    assert resolve_precision(Config(), has_bf16=False).train.precision == "fp32"


def test_bf16_without_instructions_for_it_is_warned_of(monkeypatch):
    slow = replace(Config(), train=TrainConfig(precision="bf16"))
    with_cpu(monkeypatch)
    assert "no instructions" in slow_precision(slow)
    assert slow_precision(resolve_precision(Config())) is None
    with_cpu(monkeypatch, avx512_bf16=True)
    assert slow_precision(slow) is None
