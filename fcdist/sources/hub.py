"""Data sets of the Hugging Face hub and Parquet files as sources of conversations, read by `datasets`."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from fcdist.config.types import HUB, SourceConfig
from fcdist.errors import ShardError


def is_tabular(source: SourceConfig) -> bool:
    """Whether a source is read by `datasets` instead of line by line."""
    return source.is_on_hub or source.path.endswith(".parquet")


def count_rows(source: SourceConfig) -> int:
    """Records of the split."""
    return len(_load(source))


def rows_digest(source: SourceConfig) -> str:
    """What `datasets` identifies the rows by; another revision gives another one."""
    return str(_load(source)._fingerprint)


def read_rows(source: SourceConfig) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (source and row, record).

    Arrow gives every record all fields that any record has; those that are None, at any depth, are left out again.

    Raises:
        ShardError: the data set or the split cannot be had, with the reason.
    """
    for number, row in enumerate(_load(source)):
        yield f"{source.path}: row {number}", _without_none(row)


def _load(source: SourceConfig) -> Any:
    try:
        if source.is_on_hub:
            return load_hub(source.path.removeprefix(HUB), source.split)
        from datasets import load_dataset  # slow to import, and few sources need it

        return load_dataset("parquet", data_files=source.path, split="train")
    except Exception as error:  # of the network, the hub, Arrow: the library does not narrow them
        raise ShardError(
            f"{source.path}: `datasets` cannot load the split {source.split!r} "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}). Check the "
            "name, the split and the network, or give a file (.jsonl, .json, .parquet)"
        ) from None


@lru_cache(maxsize=8)
def load_hub(address: str, split: str) -> Any:
    """A split of OWNER/NAME[/SUBSET][@REVISION], memory-mapped; asked of the hub once, so that a run sees one state."""
    from datasets import load_dataset

    name, _, revision = address.partition("@")
    owner, _, rest = name.partition("/")
    name, _, subset = rest.partition("/")
    return load_dataset(f"{owner}/{name}", subset or None, revision=revision or None, split=split)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value
