"""A language-model server on the loopback: completions, the Batch API, and everything that goes wrong with them."""

import json
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler

from loopback import served
from pipeline_fakes import CITIES

from data_pipeline.teachers import Usage

KEY = "sk-test"


def tokens(text):
    return len(text) // 4 + 1


def rewrite(task):
    """What a good model replies to a paraphrase request: other words, same values."""
    return [{"id": item["id"], "texts": [_reword(text) for text in item["rewrite"]]} for item in task["conversations"]]


def _reword(text):
    if text["by"] == "user":
        return re.sub(r"I need", "Could you look for", text["text"]).replace("Tell me", "Do tell me") + " Thanks!"
    return ("嗯：" if any("\u4e00" <= c <= "\u9fff" for c in text["text"]) else "Well: ") + text["text"]


def invent(task):
    """What a good model replies to a free request: whole dialogues around the facts."""
    return [{"id": wanted["id"], "turns": _dialogue(wanted)} for wanted in task["wanted"]]


def _dialogue(wanted):
    turns = []
    values = ", ".join(str(value) for fact in wanted["facts"] for value in fact["arguments"].values())
    for step in wanted["outline"]:
        if step["by"] == "user":
            turns.append(turn("user", f"Hello! {step.get('gist') or f'My trip needs planning: {values}.'}"))
        elif "facts" in step:
            facts = [wanted["facts"][number] for number in step["facts"]]
            turns.append(turn("assistant", None, f"{' and '.join(fact['name'] for fact in facts)}: {values}.", facts))
            turns += [turn("observation", json.dumps(fact["result"])) for fact in facts]
            told = ", ".join(str(value) for fact in facts for value in fact["result"].values())
        else:
            text = step.get("gist") or f"It says {told}."
            turns.append(turn("assistant", text, "Nothing fits." if "gist" in step else None))
    return turns


def turn(role, text, thought=None, calls=()):
    made = [{"name": call["name"], "arguments": json.dumps(call["arguments"])} for call in calls]
    return {"role": role, "thought": thought, "calls": made, "text": text}


def keep_all(dialogue, vote):
    return True, "none"


class LlmServer:
    """`script` names, request by request, a behaviour; then `behaviour` for ever. `judge` gives verdicts."""

    def __init__(self, script=(), behaviour="good", key=KEY, judge=keep_all):
        self.script, self.behaviour, self.key, self.judge = list(script), behaviour, key, judge
        self.lock = threading.Lock()
        self.requests, self.answered, self.sent = [], [], []
        self.billed = Counter()
        self.votes = Counter()
        self.in_flight = self.most_in_flight = 0
        self.batches = BatchDesk(self)

    def usage(self, model="words-1", prices=None):
        """What the server billed, in the client's terms; `prices`: per million (input, cached, output)."""
        answers, prompt, done, cached = (self.billed[model, k] for k in ("answers", "prompt", "completion", "cached"))
        per_million = prices or (0, 0, 0)
        cost = ((prompt - cached) * per_million[0] + cached * per_million[1] + done * per_million[2]) / 1e6
        return Usage(answers, prompt, done, cached, cost)

    def reply(self, body):
        """(status, headers, body bytes) for one decoded request; headers may ask for a broken connection."""
        with self.lock:
            self.requests.append(body)
            self.sent.append(time.monotonic())
            behaviour = self.script.pop(0) if self.script else self.behaviour
        form = body.get("response_format", {}).get("type", "text")
        if behaviour == "unsupported" and form == "json_schema":
            return error(400, "response_format type json_schema is not supported")
        if behaviour == "plain" and form != "text":
            return error(400, f"response_format {form} is not supported")
        if behaviour == "reasoning" and "max_tokens" in body:
            return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if behaviour == "reasoning" and "temperature" in body:
            return error(400, "Unsupported value: 'temperature' does not support 0.8 with this model.")
        if behaviour == "blocked":
            return error(400, "The prompt triggered the content management policy.", code="content_filter")
        if behaviour in ("429", "500", "503_date", "401", "404", "quota"):
            return self.failure(behaviour)
        if behaviour in ("slow", "late"):
            time.sleep(0.6 if behaviour == "slow" else 0.05)
        if behaviour == "not_json":
            return 200, {}, b"<html>proxy</html>"
        if behaviour == "no_choices":
            return 200, {}, b'{"object": "chat.completion", "choices": []}'
        if behaviour == "hang_up":
            return 200, {"x-cut": "0"}, b""
        answer = self.completion(body, behaviour)
        if behaviour == "drip":
            return 200, {"x-drip": "0.1"}, json.dumps(answer).encode()
        return 200, {"x-cut": "40"} if behaviour == "cut_off" else {}, json.dumps(answer).encode()

    def failure(self, behaviour):
        status = {"quota": 429, "503_date": 503}.get(behaviour) or int(behaviour)
        headers = {"429": {"retry-after": "0.2"}, "503_date": {"retry-after": formatdate(time.time() + 1, usegmt=True)}}
        code = "insufficient_quota" if behaviour == "quota" else None
        return error(status, f"scripted {behaviour} for {self.key}", headers.get(behaviour), code)

    def completion(self, body, behaviour="good"):
        """The body of an answer, counted as billed."""
        task = json.loads(body["messages"][1]["content"])
        name, items = self.items(task, body)
        spoil(items, task, behaviour)
        text, reason, refusal = json.dumps({name: items}), "stop", None
        if behaviour == "truncated":
            text, reason = text[: len(text) * 2 // 3], "length"
        elif behaviour == "fenced":
            text = f"Sure, here you are:\n```json\n{json.dumps(items)}\n```"
        elif behaviour == "malformed":
            text = "I am sorry, as a model I like prose."
        elif behaviour == "surrogates":
            text = text.replace("Thanks!", "Thanks \\ud83d\\ude00!").replace("Thanks", "Thanks \\ud83d", 1)
        elif behaviour == "raw_surrogate":
            text = text.replace("Thanks", "Thanks \ud83d", 1)
        elif behaviour == "refusal":
            text, refusal = None, "I cannot help with that."
        elif behaviour == "filtered":
            text, reason = "", "content_filter"
        usage = self.bill(body, task, text or "")
        if behaviour in ("no_usage", "negative_usage"):
            usage = None if behaviour == "no_usage" else usage | {"completion_tokens": -5}
        message = {"role": "assistant", "content": text, "refusal": refusal}
        choice = {"index": 0, "finish_reason": reason, "message": message}
        facts = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        return {**facts, "choices": [choice], "usage": usage}

    def items(self, task, body):
        if "conversations" in task:
            return "conversations", rewrite(task)
        if "wanted" in task:
            return "conversations", invent(task)
        with self.lock:
            vote = self.votes[body["messages"][1]["content"]]
            self.votes[body["messages"][1]["content"]] += 1
        verdicts = [(dialogue["id"], *self.judge(dialogue, vote)) for dialogue in task["dialogues"]]
        return "verdicts", [{"id": i, "why": "because", "keep": k, "fault": f} for i, k, f in verdicts]

    def bill(self, body, task, text):
        prompt, completion = tokens(json.dumps(task)), tokens(text)
        cached = prompt // 3
        with self.lock:
            for kind, count in (("prompt", prompt), ("completion", completion), ("cached", cached), ("answers", 1)):
                self.billed[body["model"], kind] += count
            self.answered.append(task)
        counted = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return counted | {"prompt_tokens_details": {"cached_tokens": cached}}


def spoil(items, task, behaviour):
    """Make the kind of mistake that models make, in the first item."""
    if behaviour == "fewer":
        items.pop(0)
    elif behaviour == "twice":
        items.insert(0, items[0])
    elif behaviour == "foreign":
        items.append({"id": 999, "texts": ["x"]})
    elif behaviour == "fewer_texts":
        items[0]["texts"].pop()
    elif behaviour == "value":
        items[0]["texts"][0] = re.sub("|".join(CITIES), "Paris", items[0]["texts"][0])
    elif behaviour == "number":
        items[0]["texts"][0] += " There are 4711 of us."
    elif behaviour == "unchanged":
        items[:] = [{"id": c["id"], "texts": [t["text"] for t in c["rewrite"]]} for c in task["conversations"]]


class BatchDesk:
    """Files and batches. `rounds` names, batch by batch, what happens to it (then `good`)."""

    def __init__(self, server):
        self.server = server
        self.files, self.batches, self.rounds, self.script = {}, {}, [], []
        self.polls_needed = 2

    def handle(self, method, path, body):
        """(status, headers, bytes) for a path below /v1."""
        behaviour = self.script.pop(0) if self.script else "good"
        if behaviour == "500":
            return error(500, "try later")
        answer = self.route(method, path.split("?")[0].strip("/").split("/"), body)
        if behaviour == "heard_then_hang_up":
            return 200, {"x-cut": "0"}, b""
        data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return 200, {"x-cut": str(len(data) // 2)} if behaviour == "cut_off" else {}, data

    def route(self, method, parts, body):
        if parts == ["files"]:
            boundary = body.split(b"\r\n", 1)[0]
            part = next(part for part in body.split(boundary) if b"filename=" in part)
            return self.add_file(part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n"))
        if parts[0] == "files":
            return self.files[parts[1]]
        if parts == ["batches"] and method == "POST":
            return self.create(json.loads(body))
        if parts == ["batches"]:
            return {"object": "list", "data": list(self.batches.values()), "has_more": False}
        return self.poll(parts[1])

    def add_file(self, content):
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return {
            "id": name,
            "object": "file",
            "bytes": len(content),
            "created_at": 0,
            "filename": "x",
            "purpose": "batch",
        }

    def create(self, wanted):
        name = f"batch_{len(self.batches)}"
        fate = self.rounds.pop(0) if self.rounds else "good"
        facts = {"id": name, "object": "batch", "created_at": 0, "status": "in_progress", "x_polls": 0, "x_fate": fate}
        self.batches[name] = wanted | facts
        return self.batches[name]

    def poll(self, name):
        batch = self.batches[name]
        batch["x_polls"] += 1
        if batch["x_polls"] == self.polls_needed:
            self.work(batch)
        return batch

    def work(self, batch):
        fate = batch["x_fate"]
        batch["status"] = fate if fate in ("failed", "expired", "cancelled") else "completed"
        if fate in ("failed", "queue_full"):
            code = "invalid_file" if fate == "failed" else "token_limit_exceeded"
            batch.update(status="failed", errors={"object": "list", "data": [{"code": code, "message": "no"}]})
            return
        done, failed = [], []
        for number, line in enumerate(self.files[batch["input_file_id"]].decode().splitlines()):
            request = json.loads(line)
            if (fate in ("expired", "cancelled") and number) or (fate == "lost_line" and not number):
                continue
            status, _, data = self.server.reply(request["body"])
            if fate == "half" and number % 2:
                status, _, data = error(500, "overloaded")
            response = {"status_code": status, "request_id": "r", "body": json.loads(data)}
            (done if status == 200 else failed).append({"custom_id": request["custom_id"], "response": response})
        if fate == "twice":
            done += [done[0], {"custom_id": "foreign", "response": done[0]["response"]}]
        text = "".join(json.dumps(line) + "\n" for line in done)
        text += '{"custom_id": "torn' if fate == "torn" else ""
        batch["output_file_id"] = self.add_file(text.encode())["id"] if done else None
        errors = "".join(json.dumps(line) + "\n" for line in failed)
        batch["error_file_id"] = self.add_file(errors.encode())["id"] if failed else None


def error(status, message, headers=None, code=None):
    return status, headers or {}, json.dumps({"error": {"message": message, "code": code}}).encode()


def pieces(data, pause):
    """`data` at once, or bit by bit with a pause after each bit."""
    if not pause:
        yield data
        return
    for start in range(0, len(data), 20):
        yield data[start : start + 20]
        time.sleep(pause)


@contextmanager
def serving(server):
    """Run `server` on a free port of the loopback; yields its base URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            with server.lock:
                server.in_flight += 1
                server.most_in_flight = max(server.most_in_flight, server.in_flight)
            try:
                self.answer(*self.decide(body))
            finally:
                with server.lock:
                    server.in_flight -= 1

        do_GET = do_POST

        def decide(self, body):
            if self.headers["authorization"] != f"Bearer {server.key}":
                return error(401, f"bad key {self.headers['authorization']}")
            if self.path == "/v1/chat/completions":
                return server.reply(json.loads(body))
            if self.path.startswith(("/v1/files", "/v1/batches")):
                with server.batches_lock:
                    return server.batches.handle(self.command, self.path.removeprefix("/v1/"), body)
            return error(404, "no such path")

        def answer(self, status, headers, data):
            cut = headers.get("x-cut")
            try:
                self.send_response(status)
                for name, value in {"content-type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data) + (cut == "0")))
                self.end_headers()
                for piece in pieces(data if cut is None else data[: int(cut)], float(headers.get("x-drip", 0))):
                    self.wfile.write(piece)
                self.close_connection = cut is not None
            except OSError:
                pass  # the client gave up waiting

        def log_message(self, *args):
            pass

    server.batches_lock = threading.RLock()
    with served(Handler) as url:
        yield url
