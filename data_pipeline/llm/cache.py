"""Answers of language models on disk, one file each: what was paid for once is never asked again."""

import json
from dataclasses import asdict
from pathlib import Path

from data_pipeline.llm.wire import Completion
from data_pipeline.teachers import Usage
from fcdist.schema.shards import write_json


class AnswerCache:
    """Answers by `wire.request_key`; models and processes may share the folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, key: str) -> Completion | None:
        """The answer, or None: absent, or torn, and then to be asked again."""
        try:
            fields = json.loads(self._path(key).read_text(encoding="utf-8"))
            return Completion(**{**fields, "usage": Usage(**fields["usage"])})
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, key: str, completion: Completion) -> None:
        """Keep an answer."""
        write_json(self._path(key), asdict(completion))

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.json"
