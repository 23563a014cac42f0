"""No file of a checkpoint or of base weights is ever unpickled, and no code of a model runs unless it is asked for."""

import ast
import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.checkpoint_files import seal
from training.ranks import run_ranks
from training.test_checkpoint import refuse, run
from training.tiny import tiny_config

import fcdist
from fcdist.config.types import ModelConfig
from fcdist.errors import ModelError
from fcdist.model.debug import debug_tokenizer, tiny_model
from fcdist.model.weights import load_model
from fcdist.training.checkpoints.finding import newest_checkpoint
from fcdist.training.checkpoints.fragments import part_path
from fcdist.training.checkpoints.publishing import ENGINE


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "caught")))
    assert (tmp_path / "caught").exists()


DEEPSPEED_FILES = ("mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt", "latest")


@pytest.mark.parametrize("engine", ["local", "deepspeed"])
def test_pickles_beside_the_state_of_a_checkpoint_are_left_alone(engine, tmp_path):
    cfg = tiny_config(engine, 2, "lora")
    run_ranks(run, 1, tmp_path, cfg, tmp_path / "run", 2)
    newest = newest_checkpoint(tmp_path / "run" / "checkpoints")
    for name in DEEPSPEED_FILES:
        torch.save(Trap(tmp_path / "caught"), newest / ENGINE / name)
    seal(newest)
    ((_, _, history),) = run_ranks(run, 1, tmp_path, cfg, tmp_path / "run")
    assert [record[0] for record in history] == [3, 4]
    assert not (tmp_path / "caught").exists()


def test_a_pickle_in_place_of_the_state_is_refused(tmp_path):
    cfg = tiny_config()
    run(cfg, tmp_path, 2)
    newest = newest_checkpoint(tmp_path / "checkpoints")
    torch.save(Trap(tmp_path / "caught"), part_path(newest / ENGINE, 0))
    seal(newest)
    assert "part-00000.safetensors: cannot be read" in refuse(cfg, tmp_path)
    assert not (tmp_path / "caught").exists()


@pytest.fixture
def base_folder(tmp_path) -> Path:
    """A model folder as users have it."""
    folder = tmp_path / "base"
    tiny_model().save_pretrained(folder)
    debug_tokenizer().save_pretrained(folder)
    return folder


def test_pickled_base_weights_run_nothing(base_folder, tmp_path):
    weights = load_file(base_folder / "model.safetensors")
    (base_folder / "model.safetensors").unlink()
    torch.save({**weights, "model.norm.weight": Trap(tmp_path / "caught")}, base_folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="pickle that holds more than tensors"):
        load_model(ModelConfig(path=str(base_folder)), torch.float32)
    assert not (tmp_path / "caught").exists()


def test_code_of_a_model_runs_only_when_asked_for(base_folder, tmp_path):
    config = json.loads((base_folder / "config.json").read_text())
    config |= {"model_type": "unheard_of", "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}}
    (base_folder / "config.json").write_text(json.dumps(config))
    (base_folder / "own.py").write_text(f"import os\nos.mkdir({str(tmp_path / 'caught')!r})\nraise ValueError('ran')\n")
    with pytest.raises(ModelError, match=r"only with model\.trust_remote_code=true"):
        load_model(ModelConfig(path=str(base_folder)), torch.float32)
    assert not (tmp_path / "caught").exists()
    with pytest.raises(ModelError, match="ran"):
        load_model(ModelConfig(path=str(base_folder), trust_remote_code=True), torch.float32)
    assert (tmp_path / "caught").exists()


UNSAFE = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve")


def test_no_module_of_the_package_can_unpickle_a_file():
    """Neither pickle itself nor what calls it: torch.load without weights_only, numpy.load with allow_pickle."""
    found = []
    for path in Path(fcdist.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import | ast.ImportFrom):
                module = [node.module] if isinstance(node, ast.ImportFrom) else []
                names = {str(name).split(".")[0] for name in [*module, *(alias.name for alias in node.names)]}
                if names & {*UNSAFE} and names != {"pickle", "UnpicklingError"}:
                    found.append(f"{path.name}:{node.lineno}: imports {names}")
            if (
                isinstance(node, ast.Call)
                and (call := ast.unparse(node.func))
                and call.endswith((".load", "checkpoint"))
            ):
                given = {k.arg: ast.unparse(k.value) for k in node.keywords}
                if call == "torch.load" and given.get("weights_only") != "True":
                    found.append(f"{path.name}:{node.lineno}: {call} without weights_only=True")
                if given.get("allow_pickle") == "True" or call.endswith(".load_checkpoint"):
                    found.append(f"{path.name}:{node.lineno}: {call}")
    assert found == []
