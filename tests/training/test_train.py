"""`python -m fcdist.train` from a token store to a checkpoint, alone and under torchrun."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from training.checkpoint_files import fill
from training.ranks import run_ranks

from fcdist.config.entry import REQUEUE
from fcdist.config.run_folder import read_config, write_config
from fcdist.config.types import (
    BatchConfig,
    Config,
    DataConfig,
    LoggerConfig,
    ModelConfig,
    OptimConfig,
    SourceConfig,
    TrainConfig,
    TuningConfig,
    ZeroConfig,
)
from fcdist.data.store import build_store
from fcdist.model.debug import debug_tokenizer, tiny_model
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall
from fcdist.train import main
from fcdist.training.checkpoints.finding import newest_checkpoint
from fcdist.training.watching.stopping import RESUME, STOP

TOOL = Tool("get_time", "Time in a city", {"type": "object", "properties": {"city": {"type": "string"}}})


def calling(i: int) -> Conversation:
    call = ToolCall("call_0", TOOL.name, json.dumps({"city": f"City {i}"}))
    asked = Message("user", f"What time is it in City {i}?")
    return Conversation((asked, Message("assistant", thought="Look it up.", tool_calls=(call,))), (TOOL,))


def chatting(i: int) -> Conversation:
    return Conversation((Message("user", f"Count to {i}"), Message("assistant", " ".join(map(str, range(i))))))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Config:
    """A run folder with a store of 24 training examples, ready to train four steps."""
    folder = tmp_path_factory.mktemp("prepared")
    for name, make in (("calls", calling), ("chats", chatting)):
        text = "".join(json.dumps(make(i).to_wire()) + "\n" for i in range(1, 16))
        (folder / f"{name}.jsonl").write_text(text)
    cfg = Config(
        run_dir=str(folder / "run"),
        seed=5,
        model=ModelConfig(path="debug"),
        data=DataConfig(
            sources={
                "calls": SourceConfig(path=str(folder / "calls.jsonl")),
                "chats": SourceConfig(path=str(folder / "chats.jsonl"), role="general"),
            },
            general_ratio=1.0,
            validation_fraction=0.2,
            store_dir=str(folder / "store"),
        ),
        batch=BatchConfig(seq_len=1024, global_batch_size=4),
        tuning=TuningConfig(r=4, dropout=0.1),
        optim=OptimConfig(lr=1e-2),
        zero=ZeroConfig(engine="local"),
        train=TrainConfig(max_steps=4, timeout_s=60, eval_every=2),
        logger=LoggerConfig(tensorboard=False),
    )
    build_store(cfg, Renderer(debug_tokenizer(), load_protocol("text")))
    return cfg


def freeze(cfg: Config, folder: Path) -> Path:
    write_config(replace(cfg, run_dir=str(folder)), folder)
    return folder


def records(run_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (run_dir / "log" / "metrics.jsonl").read_text().splitlines()]


def losses(run_dir: Path) -> list[tuple]:
    keys = ("step", "loss", "grad_norm", "lr", "validation/loss")
    return [tuple(record.get(key) for key in keys) for record in records(run_dir)]


def alone(run_dir: Path, signal_at: int = 0) -> int:
    """`main` in a forked process without torchrun's variables; optionally signalled during a step."""
    dist.destroy_process_group()
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        os.environ.pop(name, None)
    if signal_at:
        import fcdist.training.loop as loop

        original = loop.learning_rate

        def learning_rate(cfg, step, num_steps):
            if step == signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return original(cfg, step, num_steps)

        loop.learning_rate = learning_rate
    code = main([str(run_dir)])
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return code


@pytest.mark.parametrize("engine", ["local", "deepspeed"])
def test_one_process_trains_stops_on_a_signal_and_goes_on_exactly(engine, prepared, tmp_path):
    cfg = replace(prepared, zero=ZeroConfig(engine=engine, stage=2, bucket_size=100_000))
    whole, parts = freeze(cfg, tmp_path / "whole"), freeze(cfg, tmp_path / "parts")
    assert run_ranks(alone, 1, tmp_path, whole) == [0]
    assert run_ranks(alone, 1, tmp_path, parts, 3) == [REQUEUE]
    assert (parts / RESUME).read_text() == "3\n"
    assert [record["step"] for record in records(parts)] == [1, 2, 2, 3]
    assert run_ranks(alone, 1, tmp_path, parts) == [0]
    assert not (parts / RESUME).exists()
    assert losses(parts) == losses(whole)
    steps = [(record["step"], "validation/loss" in record) for record in records(whole)]
    assert steps == [(1, False), (2, False), (2, True), (3, False), (4, False), (4, True)]
    validation = [record for record in records(whole) if "validation/loss" in record]
    assert set(validation[0]) == {"step", "validation/loss", "validation/loss/general", "validation/loss/function_call"}
    assert validation[1]["validation/loss"] < validation[0]["validation/loss"]
    kinds = {key for record in records(whole) for key in record if key.startswith("loss/")}
    assert kinds == {"loss/thought", "loss/call", "loss/answer", "loss/end"}


def full_from_step_three(run_dir: Path, disk: Path) -> tuple[list[int], list[str], int]:
    """Exit codes and words of a run whose disk fills up and of the same command again, and the step that is left."""
    import fcdist.training.loop as loop

    original, codes, told = loop.learning_rate, [], []

    def learning_rate(cfg, step, num_steps):
        if step == 3 and not (disk / "ballast").exists():
            fill(disk)
        return original(cfg, step, num_steps)

    loop.learning_rate = learning_rate
    for _ in range(2):
        with redirect_stderr(io.StringIO()) as stderr:
            codes.append(alone(run_dir))
        told.append(stderr.getvalue())
    return codes, told, int(newest_checkpoint(run_dir / "checkpoints").name.removeprefix("step-"))


def test_a_run_whose_disk_is_full_says_so_and_goes_on_when_there_is_room(prepared, small_disk, tmp_path):
    cfg = replace(prepared, train=replace(prepared.train, save_every=1))
    whole, run_dir = freeze(cfg, tmp_path / "whole"), freeze(cfg, small_disk / "run")
    assert run_ranks(alone, 1, tmp_path, whole) == [0]
    ((codes, told, step),) = run_ranks(full_from_step_three, 1, tmp_path, run_dir, small_disk)
    assert codes == [2, 2] and step == 2
    for text in told:
        assert f"{run_dir}/checkpoints/step-000003 cannot be written: it takes 0.02 GiB and the disk has 0.00" in text
        assert "earlier checkpoints are untouched" in text and "Traceback" not in text
    (small_disk / "ballast").unlink()
    assert run_ranks(alone, 1, tmp_path, run_dir) == [0]
    assert losses(run_dir) == losses(whole)


def test_the_checkpoint_is_what_evaluation_loads(prepared, tmp_path):
    from fcdist.model.tuned import load_adapted

    run_dir = freeze(replace(prepared, train=replace(prepared.train, max_steps=2)), tmp_path / "run")
    assert run_ranks(alone, 1, tmp_path, run_dir) == [0]
    model = load_adapted(prepared, newest_checkpoint(run_dir / "checkpoints"))
    moved = [float(p.detach().abs().max()) for name, p in model.named_parameters() if "lora_B" in name]
    assert moved and all(value > 0 for value in moved)


def together(run_dir: Path, port: int) -> int:
    """`main` on forked ranks with torchrun's variables."""
    dist.destroy_process_group()
    os.environ.update(MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo")
    code = main([str(run_dir)])
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(run_dir: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    root = Path(__file__).parents[2]
    return subprocess.run(
        [*command, "-m", "fcdist.train", str(run_dir)], env=env, cwd=root, capture_output=True, text=True, timeout=300
    )


def test_two_ranks_stop_by_file_and_continue_under_torchrun(prepared, tmp_path):
    cfg = replace(prepared, zero=ZeroConfig(stage=2, engine="deepspeed", bucket_size=100_000))
    run_dir = freeze(cfg, tmp_path / "run")
    (run_dir / STOP).touch()
    assert run_ranks(together, 2, tmp_path, run_dir, free_port()) == [REQUEUE, REQUEUE]
    assert (run_dir / RESUME).exists() and not (run_dir / STOP).exists()
    assert newest_checkpoint(run_dir / "checkpoints").name == "step-000001"
    finished = torchrun(run_dir)
    assert finished.returncode == 0, finished.stderr
    assert [r["step"] for r in records(run_dir) if "loss" in r] == [1, 2, 3, 4]
    assert newest_checkpoint(run_dir / "checkpoints").name == "step-000004"
    assert "step 4/4" in finished.stderr and "deepspeed_shm_comm" not in finished.stderr


@pytest.mark.parametrize("sequence_parallel", [1, 2])
def test_two_ranks_train_as_one_does(sequence_parallel, prepared, tmp_path):
    cfg = replace(
        prepared, tuning=replace(prepared.tuning, dropout=0.0), train=TrainConfig(max_steps=3, precision="fp32")
    )
    shared = replace(cfg, batch=replace(cfg.batch, sequence_parallel=sequence_parallel))
    one, two = freeze(cfg, tmp_path / "one"), freeze(shared, tmp_path / "two")
    assert run_ranks(alone, 1, tmp_path, one) == [0]
    assert run_ranks(together, 2, tmp_path, two, free_port()) == [0, 0]
    for a, b in zip(records(one), records(two), strict=True):
        for key in a.keys() & {"step", "epoch", "lr", "loss", "loss/call", "grad_norm", "num_targets", "tokens"}:
            assert a[key] == pytest.approx(b[key], rel=1e-5), key
        assert a.get("validation/loss") == (b.get("validation/loss") and pytest.approx(b["validation/loss"], rel=1e-5))


def test_a_checkpoint_that_two_ranks_divide_trains_is_saved_and_exported(prepared, tmp_path):
    from fcdist.export import export
    from fcdist.model.tuned import load_tuned

    tiny_model().save_pretrained(tmp_path / "model", max_shard_size="50KB")
    debug_tokenizer().save_pretrained(tmp_path / "model")
    cfg = replace(
        prepared,
        model=ModelConfig(path=str(tmp_path / "model"), tokenizer=str(tmp_path / "model")),
        zero=ZeroConfig(engine="deepspeed", stage=3, bucket_size=100_000),
        train=replace(prepared.train, max_steps=2),
    )
    run_dir, debug = freeze(cfg, tmp_path / "run"), freeze(replace(cfg, model=prepared.model), tmp_path / "debug")
    for folder in (run_dir, debug):
        assert run_ranks(together, 2, tmp_path, folder, free_port()) == [0, 0]
    assert losses(run_dir) == losses(debug)
    checkpoint = newest_checkpoint(run_dir / "checkpoints")
    _, merged = export(cfg, checkpoint, tmp_path / "export")
    expected = load_tuned(cfg, checkpoint, torch.bfloat16).state_dict()
    weights = load_file(merged / "model.safetensors")
    assert weights and all(torch.equal(weight, expected[name]) for name, weight in weights.items())


def keeping(run_dir: Path, port: int, dies: bool) -> int:
    """`together` with plans that are kept although the store is small; rank 0 may die while it writes one."""
    from fcdist import files
    from fcdist.data import kept_plans

    kept_plans.MIN_EXAMPLES = 1
    sys.stderr = (run_dir / f"stderr-{os.environ['RANK']}").open("w", buffering=1)
    if dies:
        files.partial_path = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    return together(run_dir, port)


def test_ranks_read_the_plan_that_one_keeps_and_none_waits_for_a_writer_that_dies(prepared, tmp_path):
    cfg = replace(prepared, train=replace(prepared.train, max_steps=0, epochs=2, eval_every=0))
    plain, run_dir = freeze(cfg, tmp_path / "plain"), freeze(cfg, tmp_path / "run")
    with pytest.raises(AssertionError, match="died"):
        run_ranks(keeping, 2, tmp_path, run_dir, free_port(), True)
    assert "lost contact with another rank in step 0" in (run_dir / "stderr-1").read_text()
    assert not any((run_dir / "plans").iterdir())
    assert run_ranks(keeping, 2, tmp_path, run_dir, free_port(), False) == [0, 0]
    assert len(list((run_dir / "plans").iterdir())) == 2
    assert run_ranks(together, 2, tmp_path, plain, free_port()) == [0, 0]
    assert not (plain / "plans").exists() and losses(run_dir) == losses(plain)


def refused(cfg: Config, folder: Path, capsys, monkeypatch) -> str:
    """stderr of a run that must end before the model is loaded."""

    def load_model(*args, **kwargs):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("fcdist.train.load_model", load_model)
    assert main([str(freeze(cfg, folder))]) == 2
    assert not dist.is_initialized()
    return capsys.readouterr().err


def test_a_world_size_that_does_not_fit_is_refused_first(prepared, tmp_path, capsys, monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)
    message = refused(prepared, tmp_path / "run", capsys, monkeypatch)
    assert message.startswith("error: batch.global_batch_size=4 is not a multiple of") and "Nearest above: 6" in message


def test_a_missing_store_is_refused_before_the_model_is_loaded(prepared, tmp_path, capsys, monkeypatch):
    cfg = replace(prepared, data=replace(prepared.data, store_dir=str(tmp_path / "nothing")))
    assert "fcdist prepare" in refused(cfg, tmp_path / "run", capsys, monkeypatch)


def test_a_store_of_another_protocol_is_refused_before_the_model_is_loaded(prepared, tmp_path, capsys, monkeypatch):
    cfg = replace(prepared, protocol=replace(prepared.protocol, name="tagged"))
    assert "stale token store" in refused(cfg, tmp_path / "run", capsys, monkeypatch)


def test_a_foreign_checkpoint_is_refused_before_the_model_is_loaded(prepared, tmp_path, capsys, monkeypatch):
    run_dir = freeze(replace(prepared, train=replace(prepared.train, max_steps=1)), tmp_path / "run")
    assert run_ranks(alone, 1, tmp_path, run_dir) == [0]
    cfg = replace(prepared, optim=replace(prepared.optim, lr=5e-3))
    assert "optim.lr: 0.01 → 0.005" in refused(cfg, run_dir, capsys, monkeypatch)


def test_incomplete_rank_variables_are_refused(prepared, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "start with torchrun" in refused(prepared, tmp_path / "run", capsys, monkeypatch)


def test_activation_checkpointing_changes_no_number(prepared, tmp_path):
    train = replace(prepared.train, max_steps=2, precision="fp32")
    plain = freeze(replace(prepared, train=train), tmp_path / "plain")
    recomputed = freeze(replace(prepared, train=replace(train, activation_checkpointing=True)), tmp_path / "recomputed")
    assert run_ranks(alone, 1, tmp_path, plain) == run_ranks(alone, 1, tmp_path, recomputed) == [0]
    assert losses(plain) == losses(recomputed)


def faulty(run_dir: Path, port: int, fault: str) -> int:
    """`together`, where something happens to rank 1; what the ranks say goes into files."""
    import fcdist.train as entry_module
    import fcdist.training.loop as loop

    sys.stderr = (run_dir / f"stderr-{os.environ['RANK']}").open("w", buffering=1)
    if os.environ["RANK"] == "1":
        original = loop.learning_rate

        def learning_rate(cfg, step, num_steps):
            if step == 3 and fault == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            return original(cfg, step, num_steps)

        loop.learning_rate = learning_rate
        if fault == "cut store":
            folder = run_dir / "store-of-rank-1"
            shutil.copytree(entry_module.store_dir(read_config(run_dir)), folder)
            largest = max((p for p in folder.rglob("*") if p.is_file()), key=lambda path: path.stat().st_size)
            os.truncate(largest, largest.stat().st_size // 2)
            entry_module.store_dir = lambda cfg: folder
        if fault == "other data":
            cfg = read_config(run_dir)
            cfg = replace(cfg, data=replace(cfg.data, store_dir=str(run_dir / "other"), general_ratio=0.5))
            build_store(cfg, Renderer(debug_tokenizer(), load_protocol("text")))
            entry_module.store_dir = lambda cfg: run_dir / "other"
    return together(run_dir, port)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("killed", "lost contact with another rank in step 3, "),
        ("cut store", "error: rank 1: "),
        ("other data", "the ranks do not run the same thing: data store is "),
    ],
)
def test_what_happens_to_one_rank_ends_all_with_the_reason(fault, expected, prepared, tmp_path):
    run_dir = freeze(replace(prepared, train=replace(prepared.train, save_every=1)), tmp_path / "run")
    if fault == "killed":
        with pytest.raises(AssertionError, match="died"):
            run_ranks(faulty, 2, tmp_path, run_dir, free_port(), fault)
    else:
        assert run_ranks(faulty, 2, tmp_path, run_dir, free_port(), fault) == [2, 2]
    assert expected in (run_dir / "stderr-0").read_text()
    if fault == "killed":
        assert run_ranks(together, 2, tmp_path, run_dir, free_port()) == [0, 0]
        plain = freeze(prepared, tmp_path / "plain")
        assert run_ranks(together, 2, tmp_path, plain, free_port()) == [0, 0]
        assert losses(run_dir) == losses(plain)
