"""Ranks must run the same thing: one old checkout or stale copy of the data on one node would spoil a run silently."""

import hashlib
import socket
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import fcdist
from fcdist.config.mapping import flatten, to_mapping
from fcdist.config.types import Config
from fcdist.errors import TrainingError
from fcdist.training.checkpoints.identity import versions
from fcdist.training.distributed import gather_objects, shared

MAX_NAMED = 8
"""Differences named in an error."""


def check_same_start(cfg: Config, store_fingerprint: str) -> None:
    """Compare code, package versions, settings and data of all ranks. Every rank calls it, before the model is loaded.

    Args:
        cfg: as this rank read it.
        store_fingerprint: of the token store that this rank opened.

    Raises:
        TrainingError: on every rank, naming what differs, on which ranks and hosts.
    """
    mine = start_facts(cfg, store_fingerprint)
    digest = hashlib.sha256(repr(sorted(mine.items())).encode()).hexdigest()
    if len(set(gather_objects(digest))) == 1:  # the facts themselves travel only when they differ
        return
    hosts, facts = gather_objects(socket.gethostname()), gather_objects(mine)
    found = describe_differences(facts, hosts)
    more = f"; and {len(found) - MAX_NAMED} more" if len(found) > MAX_NAMED else ""
    error = TrainingError(
        f"the ranks do not run the same thing: {'; '.join(found[:MAX_NAMED])}{more}. Give every node the same "
        "checkout, packages and run folder"
    )
    raise shared(error)


def start_facts(cfg: Config, store_fingerprint: str) -> dict[str, str]:
    """What every rank must have in common, by name."""
    settings = {f"config {key}": repr(value) for key, value in flatten(to_mapping(cfg)).items()}
    packages = {f"package {name}": version for name, version in versions().items()}
    return {"code of fcdist": code_fingerprint(), "data store": store_fingerprint[:16], **packages, **settings}


def describe_differences(facts: Sequence[Mapping[str, str]], hosts: Sequence[str]) -> list[str]:
    """One line a fact that differs: the value of most ranks, and each other value with its ranks."""
    lines = []
    for name in sorted({name for each in facts for name in each}):
        ranks: dict[str, list[int]] = {}
        for rank, each in enumerate(facts):
            ranks.setdefault(each.get(name, "none"), []).append(rank)
        if len(ranks) > 1:
            usual = max(ranks, key=lambda value: len(ranks[value]))
            odd = [
                f"{value} on rank {', '.join(map(str, where[:4]))}{', …' if len(where) > 4 else ''} ({hosts[where[0]]})"
                for value, where in ranks.items()
                if value != usual
            ]
            lines.append(f"{name} is {usual}, but {' and '.join(odd)}")
    return lines


@lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Digest of the package's own source files."""
    digest = hashlib.sha256()
    folder = Path(fcdist.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
