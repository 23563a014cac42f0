"""Self-chat by a served model: the same model writes the same text, whether it runs here or at a server."""

import asyncio
import dataclasses
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import count

import numpy as np
import pytest
import torch
from loopback import served

from fcdist import replay
from fcdist.config.run_folder import general_dir, write_config
from fcdist.config.types import Config, ModelConfig, ReplayConfig
from fcdist.errors import GenerationError
from fcdist.evaluation.self_chat import ChatShape, ModelWriter
from fcdist.evaluation.server_writer import ServerWriter
from fcdist.model.debug import debug_tokenizer, tiny_model
from fcdist.schema.shards import read_shard, shard_paths

TOPICS = ("apples", "bridges", "canals", "dogs", "engines", "ferns", "goats", "harbours", "islands", "jars", "kites")


class CompletionServer:
    """Plain completions. `speaks_ids`: knows the extensions that exchange token ids; else it refuses them."""

    def __init__(self, complete, tokenizer, speaks_ids=True, refusal=None, logprobs=True):
        self.complete, self.tokenizer, self.speaks_ids = complete, tokenizer, speaks_ids
        self.refusal, self.logprobs = refusal, logprobs
        self.requests, self.lock = [], threading.Lock()

    def reply(self, body):
        with self.lock:
            self.requests.append(body)
            if self.refusal:
                return self.refusal, {"error": {"message": "no, not with secret-key"}}
            if not self.speaks_ids and "stop_token_ids" in body:
                return 400, {"error": {"message": "unknown field stop_token_ids"}}
            ids, ended, likeliest = self.complete(body["prompt"], body["max_tokens"])
        choice = {"index": 0, "text": self.tokenizer.decode(ids), "finish_reason": "stop" if ended else "length"}
        if self.speaks_ids:
            choice["token_ids"] = ids
        if "logprobs" in body and self.logprobs:
            spell = (lambda i: f"token_id:{i}") if self.speaks_ids else lambda i: self.tokenizer.decode([i])
            choice["logprobs"] = {"top_logprobs": [{spell(i): p for i, p in likeliest.items()}]}
        facts = {"id": "x", "object": "text_completion", "created": 0, "model": body["model"], "choices": [choice]}
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": len(ids), "total_tokens": 0}
        return 200, facts | {"usage": usage}


@contextmanager
def serving(server):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = server.reply(body) if self.path == "/v1/completions" else (404, {})
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    with served(Handler) as url:
        yield url


@pytest.fixture(scope="module")
def tokenizer():
    return debug_tokenizer()


@pytest.fixture(scope="module")
def shape(tokenizer):
    return ChatShape(tokenizer)


@pytest.fixture
def greedy(tokenizer, shape):
    """The tiny model behind a server, always taking the likeliest token."""
    model = tiny_model()

    def complete(prompt, limit):
        writer = ModelWriter(model, tokenizer, shape.stop_token_ids, ReplayConfig(temperature=0.0))
        (ids,) = writer.write([prompt], [limit], 0)
        with torch.inference_mode():
            scores = model(torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1)
        likeliest = {int(i): float(scores[i]) for i in scores.topk(20).indices}
        return ids, len(ids) < limit, likeliest

    return model, CompletionServer(complete, tokenizer)


def writer_of(url, tokenizer, shape, **changes):
    return ServerWriter(tokenizer, shape.stop_token_ids, ReplayConfig(base_url=url, **changes), "tiny")


def test_a_served_model_writes_what_it_writes_here(tokenizer, shape, greedy):
    model, server = greedy
    prompts = [shape.user_prompt(()), shape.user_prompt(())[:-1], shape.encode("abc")]
    local = ModelWriter(model, tokenizer, shape.stop_token_ids, ReplayConfig(temperature=0.0))
    with serving(server) as url:
        served = writer_of(url, tokenizer, shape, temperature=0.0)
        assert served.write(prompts, [12, 5, 8], 3) == local.write(prompts, [12, 5, 8], 3)
        assert served.num_tokens == local.num_tokens
    assert {tuple(request["prompt"]) for request in server.requests} == {tuple(ids) for ids in prompts}
    assert len({request["seed"] for request in server.requests}) == 3
    assert server.requests[0]["stop_token_ids"] == list(shape.stop_token_ids)


def test_probabilities_are_the_models_over_its_likeliest_tokens(tokenizer, shape, greedy):
    model, server = greedy
    local = ModelWriter(model, tokenizer, (), ReplayConfig(temperature=0.7))
    whole = local.next_token_probabilities(shape.user_prompt(()))
    with serving(server) as url:
        found = writer_of(url, tokenizer, shape, temperature=0.7).next_token_probabilities(shape.user_prompt(()))
    top = np.argsort(-whole)[:20]
    assert set(np.flatnonzero(found)) == set(top.tolist()) and found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[top], whole[top] / whole[top].sum(), rtol=1e-6)


def question(number):
    first, second = TOPICS[number % 11], TOPICS[(number * 7 + 3) % 11]
    return f"What do you think about {first} number {number} and {second}?"


def scripted(tokenizer, ended=True):
    """Questions for user headers, answers for the others."""
    asked = count()

    def complete(prompt, limit):
        before = tokenizer.decode(prompt)
        text = "They are fine things to have." if before.endswith("assistant\n") else question(next(asked))
        ids = tokenizer.encode(text.removeprefix("W" if before.endswith("W") else ""), add_special_tokens=False)
        return (ids if ended else ids[:limit]), ended, {tokenizer.encode("W")[0]: -0.1}

    return complete


def test_server_that_knows_no_token_ids_is_asked_in_text(tokenizer, shape):
    server = CompletionServer(scripted(tokenizer), tokenizer, speaks_ids=False)
    with serving(server) as url:
        writer = writer_of(url, tokenizer, shape, max_concurrency=1)
        first, second = writer.write([shape.user_prompt(())] * 2, [60, 60], 0)
        likeliest = writer.next_token_probabilities(shape.user_prompt(()))
    assert [tokenizer.decode(ids) for ids in (first, second)] == [question(0), question(1)]
    assert ["stop_token_ids" in request for request in server.requests] == [True, False, False, False]
    assert all(request["stop"] for request in server.requests)
    assert tokenizer.decode([int(likeliest.argmax())]) == "W" and likeliest.max() == 1


def test_text_that_has_not_ended_is_as_long_as_its_limit(tokenizer, shape):
    for speaks_ids in (True, False):
        server = CompletionServer(scripted(tokenizer, ended=False), tokenizer, speaks_ids)
        with serving(server) as url:
            answers = writer_of(url, tokenizer, shape).write([shape.user_prompt(())] * 2, [9, 70], 0)
        assert [len(ids) for ids in answers] == [9, 70]


@pytest.mark.parametrize(("refusal", "message"), [(401, "status 401"), (404, "status 404"), (None, "no answer")])
def test_what_the_server_refuses_is_an_error_without_the_key(tokenizer, shape, monkeypatch, refusal, message):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setattr("fcdist.evaluation.server_writer.MAX_RETRIES", 0)
    with serving(CompletionServer(scripted(tokenizer), tokenizer, refusal=refusal)) as url:
        writer = writer_of(url if refusal else "http://127.0.0.1:9/v1", tokenizer, shape)
        with pytest.raises(GenerationError, match=rf"replay.base_url=.*{message}.*replay.llm") as error:
            writer.write([[1, 2]] * 3, [4] * 3, 0)
    assert "secret-key" not in str(error.value)


def test_server_without_probabilities_is_an_error(tokenizer, shape):
    with serving(CompletionServer(scripted(tokenizer), tokenizer, logprobs=False)) as url:
        writer = writer_of(url, tokenizer, shape)
        with pytest.raises(GenerationError, match="tells no probabilities of tokens"):
            writer.next_token_probabilities([1, 2])


def test_requests_in_flight_are_bounded(tokenizer, shape, monkeypatch):
    most = now = 0
    writer = writer_of("http://127.0.0.1:9/v1", tokenizer, shape, max_concurrency=3)

    async def ask(create, job):
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return job

    monkeypatch.setattr(writer, "_ask", ask)
    jobs = [{"prompt": [i]} for i in range(20)]
    assert asyncio.run(writer._ask_all(jobs)) == jobs and most == 3


def test_whole_replay_from_a_server_without_weights(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(replay, "load_model", None)
    server = CompletionServer(scripted(tokenizer), tokenizer)
    with serving(server) as url:
        cfg = ReplayConfig(num_conversations=4, batch_size=8, max_user_tokens=90, base_url=url, brief_share=0.0)
        config = Config(run_dir=str(tmp_path), replay=dataclasses.replace(cfg, second_turn_share=0.0))
        write_config(config, tmp_path)
        assert replay.main([str(tmp_path)]) == 0
    written = [c for path in shard_paths(general_dir(config)) for c in read_shard(path)]
    assert len(written) == 4 and all(len(c.messages) == 2 for c in written)
    assert server.requests[0]["model"] == config.model.path
    elsewhere = dataclasses.replace(config, replay=dataclasses.replace(config.replay, base_url="http://other/v1"))
    write_config(elsewhere, tmp_path)
    assert replay.main([str(tmp_path)]) == 0  # where the model runs changes nothing of what it is asked


def test_name_at_the_server():
    config = Config(model=ModelConfig(path="a/b"), replay=ReplayConfig(base_url="http://x", llm="served"))
    shape = ChatShape(debug_tokenizer())
    assert replay.build_writer(config, debug_tokenizer(), shape)._model == "served"
