"""Vectors of what users say, from a server: asked in order, compared exactly, whichever block they lie in."""

import json
from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
from loopback import served
from merge_fakes import called, chatted, write_shards

from data_pipeline import embeddings
from data_pipeline.embeddings import EmbeddingIndex, TextEncoder
from data_pipeline.merge import merge
from fcdist.config.types import Config, MergeConfig
from fcdist.errors import ConfigError, GenerationError
from fcdist.schema.conversation import Conversation, Message
from fcdist.schema.shards import read_shard

MEANINGS = {"hotel": 0, "room": 0, "flight": 1, "plane": 1, "weather": 2, "rain": 2}


def meaning(text: str) -> list[float]:
    """A text's vector: how often it speaks of each of three things, and a little of its length."""
    counts = [0.0, 0.0, 0.0, 0.01 * len(text)]
    for word in text.lower().replace("?", "").replace(".", "").split():
        if word in MEANINGS:
            counts[MEANINGS[word]] += 100.0
    return counts


@pytest.fixture
def server():
    """Base URL of a server that knows what words mean, and the requests it got."""
    asked: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            wire = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append({**wire, "path": self.path, "key": self.headers["Authorization"]})
            items = [{"object": "embedding", "index": i, "embedding": meaning(t)} for i, t in enumerate(wire["input"])]
            if wire["model"] == "forgetful":
                items.pop()
            body = {"object": "list", "data": items[::-1], "model": wire["model"], "usage": {}}
            if wire["model"] == "missing":
                body = {"error": {"message": "no such model"}}
            data = json.dumps(body).encode()
            self.send_response(404 if wire["model"] == "missing" else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args):
            pass

    with served(Handler) as url:
        yield url, asked


def settings(url: str, **keys) -> MergeConfig:
    return MergeConfig(**{"embedding_model": "words", "embedding_base_url": url, "decontaminate": (), **keys})


def says(*turns: str, identifier: str = "") -> Conversation:
    messages = [m for turn in turns for m in (Message("user", turn), Message("assistant", "Fine."))]
    return Conversation(tuple(messages), id=identifier)


def test_vectors_are_asked_for_in_order_and_have_length_one(server, monkeypatch):
    url, asked = server
    monkeypatch.setattr(embeddings, "BATCH", 2)
    monkeypatch.setenv("MY_KEY", "secret")
    conversations = [says("A hotel?"), says("A flight", "and a plane"), says("Will it rain?")]
    encoder = TextEncoder(settings(url, embedding_api_key_env="MY_KEY"))
    vectors = list(encoder(iter(conversations)))
    assert [request["input"] for request in asked] == [["A hotel?", "A flight\nand a plane"], ["Will it rain?"]]
    assert {request["path"] for request in asked} == {"/v1/embeddings"}
    assert {request["key"] for request in asked} == {"Bearer secret"}
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert [int(vector.argmax()) for vector in vectors] == [0, 1, 2]


@pytest.mark.parametrize("block", [1, 3, 4096])
def test_the_nearest_is_that_of_all_pairs(tmp_path, monkeypatch, block):
    monkeypatch.setattr(embeddings, "ROWS_AT_ONCE", block)
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(40, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[30] = vectors[7]
    index = EmbeddingIndex(tmp_path / "vectors", 0.8)
    kept: list[int] = []
    for row, vector in enumerate(vectors):
        cosines = vectors[kept] @ vector
        found = index.nearest(vector)
        if len(kept) and cosines.max() >= 0.8:
            assert found is not None
            assert (found.row, found.id) == (kept[int(cosines.argmax())], str(kept[int(cosines.argmax())]))
            assert found.similarity == pytest.approx(float(cosines.max()), abs=1e-4)
        else:
            assert found is None
            index.keep(row, says("x", identifier=str(row)), vector)
            kept.append(row)
    assert 30 not in kept and 7 in kept and len(kept) < 40


def test_merge_takes_paraphrases_out_that_share_no_words(tmp_path, server):
    conversations = [
        called("Find me a hotel in Oslo please", {"city": "Oslo"}, number=0),
        called("Need some room around Bergen", {"city": "Bergen"}, number=1),
        chatted("What would a nice room cost there?", number=2),
        called("Any flight going north tomorrow", {"city": "Oslo"}, number=3),
    ]
    write_shards(tmp_path / "in", conversations)
    for name, model, kept in (("all", "", ["c0", "c1", "c2", "c3"]), ("some", "words", ["c0", "c2", "c3"])):
        config = Config(merge=settings(server[0], inputs=(str(tmp_path / "in"),), embedding_model=model))
        merge(config, tmp_path / name)
        found = [c.id for path in sorted((tmp_path / name).rglob("shard-*.jsonl")) for c in read_shard(path)]
        assert sorted(found) == kept
        removed = (tmp_path / name / "merged" / "removed.jsonl").read_text().splitlines()
        reasons = [(json.loads(line)["reason"], json.loads(line)["collides_with"]["id"]) for line in removed]
        assert reasons == ([("similar_embedding", "c0")] if name == "some" else [])


@pytest.mark.parametrize("model", ["forgetful", "missing"])
def test_a_server_that_fails_is_an_error_that_says_what_to_check(server, model):
    encoder = TextEncoder(settings(server[0], embedding_model=model))
    with pytest.raises(GenerationError, match=r"merge\.embedding_model=.*Check merge\.embedding_base_url"):
        list(encoder([says("A hotel?")]))


def test_the_threshold_must_be_a_cosine():
    with pytest.raises(ConfigError, match=r"merge\.embedding_similarity=1\.5"):
        MergeConfig(embedding_similarity=1.5)
