"""Plain torch. The oracle that DeepSpeed is tested against, and the choice for models that fit on every rank.

Several ranks reduce their gradients once per step instead of through DistributedDataParallel: accumulation needs no
`no_sync`, unused parameters need no search, gradients add up and travel in fp32 whatever the weights' precision, and
the result does not depend on bucket order. DDP would overlap communication with the last backward; ZeRO does that here.
"""

import torch
from torch import Tensor, nn

from fcdist.config.types import Config
from fcdist.data.batch import Batch
from fcdist.training.checkpoints.fragments import MASTER, Fragment
from fcdist.training.checkpoints.tensor_file import TensorSpec
from fcdist.training.distributed import all_reduce_sum, get_rank, get_world_size
from fcdist.training.engines.optimizer import MOMENTS, adam_state, build_optimizer


class LocalEngine:
    """Every rank holds everything.

    Weights below fp32 get an fp32 master copy: bf16 has 8 bits of mantissa, so an update of 1/500 of a weight would
    vanish. Forward and backward run in the weights' own precision; gradients are added up in fp32.
    """

    def __init__(self, module: nn.Module, cfg: Config, device: torch.device) -> None:
        self.device = device
        self.dp_rank, self.dp_world_size = get_rank(), get_world_size()
        self.steps_done = 0
        self._module = module.to(device)
        self._max_grad_norm = cfg.optim.max_grad_norm
        self._bucket_size = cfg.zero.bucket_size
        self._weights = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        for weight in self._weights.values():
            if self.dp_world_size > 1:
                torch.distributed.broadcast(weight.data, src=0)
        self._masters = {name: _master(p) for name, p in self._weights.items()}
        self._optimizer = build_optimizer(self._masters.items(), cfg.optim, fused=device.type == "cuda")

    @property
    def model(self) -> nn.Module:
        """The unwrapped model."""
        return self._module.model  # type: ignore[return-value]

    def __call__(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss of a batch, see `Engine`."""
        return self._module(batch.to(self.device))  # type: ignore[no-any-return]

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of `loss` to the masters."""
        loss.backward()  # type: ignore[no-untyped-call]
        for name, weight in self._weights.items():
            master = self._masters[name]
            if master is weight or weight.grad is None:
                continue
            if master.grad is None:
                master.grad = weight.grad.to(master.dtype)
            else:
                master.grad += weight.grad
            weight.grad = None

    @torch.no_grad()
    def step(self, lr: float) -> float:
        """Average, clip, update; see `Engine`."""
        gradients = self._average_gradients()
        max_norm = self._max_grad_norm or float("inf")
        norm = torch.nn.utils.get_total_norm(gradients)
        if bool(torch.isfinite(norm)):
            torch.nn.utils.clip_grads_with_norm_(self._masters.values(), max_norm, norm)
            for group in self._optimizer.param_groups:
                group["lr"] = lr
            self._optimizer.step()
            self._publish_masters()
            self.steps_done += 1
        self._optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def discard(self) -> None:
        """Forget the gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def train_mode(self, enabled: bool) -> None:
        """Dropout on or off."""
        self._module.train(enabled)

    @property
    def is_replicated(self) -> bool:
        """Every rank holds everything."""
        return True

    def weight_specs(self) -> dict[str, TensorSpec]:
        """Type and shape of each trainable weight."""
        return {name: TensorSpec.of(weight) for name, weight in self._weights.items()}

    def fragments(self) -> list[Fragment]:
        """Masters and moments, whole."""
        return [Fragment(name, 0, self._training_state(master)) for name, master in self._masters.items()]

    @torch.no_grad()
    def restored(self, steps_done: int) -> None:
        """Take over the masters; see `Engine`."""
        for master in self._masters.values():
            adam_state(self._optimizer, master, steps_done)
        self.steps_done = steps_done
        self._publish_masters()

    def trainable_state_dict(self) -> dict[str, Tensor]:
        """Trainable weights as the model computes with them, on rank 0."""
        if self.dp_rank != 0:
            return {}
        return {name: weight.detach().cpu().clone() for name, weight in self._weights.items()}

    def _average_gradients(self) -> list[Tensor]:
        masters = list(self._masters.values())
        for master in masters:
            if master.grad is None:  # every rank must bring the same tensors to the sum
                master.grad = torch.zeros_like(master)
        gradients = [master.grad for master in masters if master.grad is not None]
        if self.dp_world_size > 1:
            for bucket in _buckets(gradients, self._bucket_size):
                flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
                all_reduce_sum(flat).div_(self.dp_world_size)
                for gradient, part in zip(bucket, torch.split(flat, [g.numel() for g in bucket]), strict=True):
                    gradient.copy_(part.view_as(gradient))
        return gradients

    def _publish_masters(self) -> None:
        for name, weight in self._weights.items():
            if self._masters[name] is not weight:
                weight.data.copy_(self._masters[name])

    def _training_state(self, master: Tensor) -> dict[str, Tensor]:
        state = adam_state(self._optimizer, master)
        tensors = {MASTER: master.detach(), **{key: state[key] for key in MOMENTS}}
        return {part: tensor.view(-1) for part, tensor in tensors.items()}


def _master(weight: nn.Parameter) -> Tensor:
    if weight.dtype in (torch.float32, torch.float64):
        return weight
    return nn.Parameter(weight.detach().float().clone())


def _buckets(tensors: list[Tensor], size: int) -> list[list[Tensor]]:
    """Consecutive tensors of one dtype, at most `size` elements together unless one alone is larger."""
    buckets: list[list[Tensor]] = []
    for tensor in tensors:
        last = buckets[-1] if buckets else None
        if last and last[0].dtype == tensor.dtype and sum(t.numel() for t in last) + tensor.numel() <= size:
            last.append(tensor)
        else:
            buckets.append([tensor])
    return buckets
