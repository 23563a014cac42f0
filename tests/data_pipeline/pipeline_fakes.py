"""A tiny catalogue with the real teacher's interface, and a language-model server on the loopback."""

import json
import os
import random
import re
import signal
import threading
import time
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import parent_process

from data_pipeline.teachers import PlannedTeacher
from fcdist.config.seeds import derive_seed
from fcdist.schema.conversation import Conversation, Message, Tool, ToolCall

CITIES = ("Oslo", "Rome", "Lima", "Kyoto", "Cairo")
CATEGORIES = ("single", "negative")
TOOLS = tuple(
    tuple(
        Tool(
            f"{verb}_{i}",
            "Look something up.",
            {
                "type": "object",
                "properties": {"city": {"type": "string"}, "nights": {"type": "integer"}},
                "required": ["city", "nights"],
            },
        )
        for verb in ("find_hotel", "find_hostel")
    )
    for i in range(3)
)


class FakePlanner:
    """Hotels; attempt 0 of every fifth index carries a flaw that `fake_check` finds."""

    def __init__(self, seed, block=4, delay_s=0.0):
        self.seed, self.block, self.delay_s = seed, block, delay_s

    def conversation(self, index, attempt=0):
        time.sleep(self.delay_s)
        rng = random.Random(derive_seed(self.seed, index, attempt))
        tools = TOOLS[index // self.block % len(TOOLS)]
        city, nights = rng.choice(CITIES), rng.randint(2, 90)
        category = CATEGORIES[index % 2]
        flaw = "flawed " if index % 5 == 0 and attempt == 0 else ""
        if category == "negative":
            messages = (
                Message("user", f"{flaw}Tell me a joke about {city}, number {nights}."),
                Message("assistant", f"Here is joke {nights} about {city}.", thought="No function tells jokes."),
            )
        else:
            call = ToolCall("call_0", tools[0].name, json.dumps({"city": city, "nights": nights}))
            messages = (
                Message("user", f"{flaw}I need a hotel in {city} for {nights} nights."),
                Message("assistant", thought=f"{tools[0].name} fits: {city}, {nights} nights.", tool_calls=(call,)),
                Message("tool", json.dumps({"price": nights * 10}), tool_call_id="call_0"),
                Message("assistant", f"It costs {nights * 10}."),
            )
        return Conversation(messages, tools, id=f"c{index}", source="fake", category=category, language="en")


def fake_check(conversation):
    return "flawed" if "flawed" in (conversation.messages[0].content or "") else None


def never(conversation):
    return "never"


def make_fake(config, run_dir):
    return PlannedTeacher(FakePlanner(config.seed), "fake")


def make_slow(config, run_dir):
    return PlannedTeacher(FakePlanner(config.seed, delay_s=0.004), "fake")


def make_dying(config, run_dir):
    if parent_process() is not None:
        os.kill(os.getpid(), signal.SIGKILL)
    return make_fake(config, run_dir)


def never_in_worker(conversation):
    return "never" if parent_process() is not None else None


def rewrite(task):
    """What a good model replies: other words, same values."""
    return [{"id": item["id"], "texts": [_reword(text) for text in item["rewrite"]]} for item in task["conversations"]]


def _reword(text):
    if text["by"] == "user":
        return re.sub(r"I need", "Could you look for", text["text"]).replace("Tell me", "Do tell me") + " Thanks!"
    return "Well: " + text["text"]


def tokens(text):
    return len(text) // 4 + 1


class LlmServer:
    """Answers chat completions; `script` yields, per request, the name of a behaviour (then `good` for ever)."""

    def __init__(self, script=(), behaviour="good", key="sk-test"):
        self.script, self.behaviour, self.key = list(script), behaviour, key
        self.lock = threading.Lock()
        self.requests, self.answered, self.statuses = [], [], Counter()
        self.prompt_tokens = self.completion_tokens = 0
        self.in_flight = self.most_in_flight = 0

    def reply(self, body):
        """(status, headers, body bytes) for one decoded request."""
        with self.lock:
            self.requests.append(body)
            behaviour = self.script.pop(0) if self.script else self.behaviour
        task = json.loads(body["messages"][1]["content"])
        form = body.get("response_format", {}).get("type", "text")
        if behaviour == "unsupported" and form == "json_schema":
            return error(400, "response_format type json_schema is not supported")
        if behaviour == "plain" and form != "text":
            return error(400, f"response_format {form} is not supported")
        if behaviour in ("429", "500", "401", "404", "quota"):
            headers = {"retry-after": "0.2"} if behaviour == "429" else {}
            status = 429 if behaviour == "quota" else int(behaviour)
            code = "insufficient_quota" if behaviour == "quota" else None
            return error(status, f"scripted {behaviour} for {self.key}", headers, code)
        if behaviour == "slow":
            time.sleep(0.6)
        if behaviour == "late":
            time.sleep(0.05)
        if behaviour == "not_json":
            return 200, {}, b"<html>proxy</html>"
        return self.completion(task, behaviour)

    def completion(self, task, behaviour):
        items = rewrite(task)
        if behaviour == "fewer":
            items = items[1:]
        elif behaviour == "twice":
            items = [items[0], *items]
        elif behaviour == "foreign":
            items = [*items, {"id": 999, "texts": ["x"]}]
        elif behaviour == "fewer_texts":
            items[0]["texts"].pop()
        elif behaviour == "value":
            items[0]["texts"][0] = re.sub("|".join(CITIES), "Paris", items[0]["texts"][0])
        elif behaviour == "number":
            items[0]["texts"][0] += " There are 4711 of us."
        elif behaviour == "unchanged":
            items = [{"id": c["id"], "texts": [t["text"] for t in c["rewrite"]]} for c in task["conversations"]]
        text, reason, refusal = json.dumps({"conversations": items}), "stop", None
        if behaviour == "truncated":
            text, reason = text[: len(text) * 2 // 3], "length"
        elif behaviour == "fenced":
            text = f"Sure, here you are:\n```json\n{json.dumps(items)}\n```"
        elif behaviour == "malformed":
            text = "I am sorry, as a model I like prose."
        elif behaviour == "refusal":
            text, refusal = None, "I cannot help with that."
        usage = {"prompt_tokens": tokens(json.dumps(task)), "completion_tokens": tokens(text or ""), "total_tokens": 0}
        with self.lock:
            self.prompt_tokens += usage["prompt_tokens"]
            self.completion_tokens += usage["completion_tokens"]
            self.answered.append(task)
        message = {"role": "assistant", "content": text, "refusal": refusal}
        body = {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "words-1",
            "choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": usage,
        }
        return 200, {}, json.dumps(body).encode()


def error(status, message, headers=None, code=None):
    return status, headers or {}, json.dumps({"error": {"message": message, "code": code}}).encode()


@contextmanager
def serving(server):
    """Run `server` on a free port of the loopback; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with server.lock:
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
            try:
                if self.headers["authorization"] != f"Bearer {server.key}":
                    status, headers, data = error(401, f"bad key {self.headers['authorization']}")
                elif self.path != "/v1/chat/completions":
                    status, headers, data = error(404, "no such path")
                else:
                    status, headers, data = server.reply(body)
            finally:
                with server.lock:
                    server.in_flight -= 1
            server.statuses[status] += 1
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            except OSError:
                pass  # the client gave up waiting

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
