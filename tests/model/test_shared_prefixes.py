"""Examples that share prefixes in a batch give the loss and the gradients of separate ones, to fp64."""

import numpy as np
import pytest
import torch
from forests import gradients, packed_loss, relative_error
from torch.nn.functional import cross_entropy

from fcdist.data.collating import collate
from fcdist.data.tokenizing import Example
from fcdist.model.attention import PLAIN, set_attention
from fcdist.model.debug import TINY_KINDS, VOCAB_SIZE, tiny_model


class Conversations:
    """Two tool prompts, first turns that are shared deeper, one example that begins another, and one twice."""

    def __init__(self):
        random = np.random.default_rng(0)

        def text(n):
            return random.integers(4, VOCAB_SIZE, n).astype(np.int32)

        tools, other, turn = text(20), text(15), text(9)
        talk = np.concatenate([tools, turn, text(7)])
        rows = [
            talk,
            np.concatenate([tools, turn, text(11)]),
            np.concatenate([talk, text(8)]),
            np.concatenate([tools, text(13)]),
            np.concatenate([other, text(6)]),
            np.concatenate([other, text(9)]),
            text(10),
            talk,
        ]
        self.rows = [Example(row, self._kinds(random, len(row))) for row in rows]

    @staticmethod
    def _kinds(random, length):
        kinds = random.integers(0, 5, length).astype(np.int8)  # spans of targets, in shared stretches too
        kinds[0] = 0
        return kinds

    def example(self, row):
        return self.rows[row]


def exact_model(kind):
    """A tiny model in fp64 throughout: transformers' norms compute in fp32."""
    model = tiny_model(kind, dtype=torch.float64)
    for module in model.modules():
        if hasattr(module, "variance_epsilon"):
            module.forward = lambda x, m=module: (
                m.weight * x * (x.square().mean(-1, keepdim=True) + m.variance_epsilon).rsqrt()
            )
    return model


@pytest.mark.parametrize("kind", TINY_KINDS)
@pytest.mark.parametrize("min_shared", [0, 1, 8, 16])
def test_sharing_changes_neither_loss_nor_gradients(kind, min_shared):
    store = Conversations()
    model = exact_model(kind)
    set_attention(model, PLAIN)
    alone = torch.zeros((), dtype=torch.float64)
    for example in store.rows:
        ids, targets = torch.from_numpy(example.input_ids.astype(np.int64)), np.flatnonzero(example.kinds)
        logits = model(input_ids=ids[None], use_cache=False).logits[0]
        alone = alone + cross_entropy(logits[targets - 1], ids[targets], reduction="sum")
    expected = gradients(model, alone)
    batch = collate(store, [list(range(len(store.rows)))], min_shared)
    assert (batch.input_ids.shape[1] < sum(len(example.input_ids) for example in store.rows)) == bool(min_shared)
    loss = packed_loss(model, batch)
    assert loss.item() == pytest.approx(alone.item(), rel=1e-10)
    assert relative_error(gradients(model, loss), expected) < 1e-10
