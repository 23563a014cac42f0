"""Paths of a config as seen from where the command was started: the run folder's config holds them absolute, so that
`--run` and workers on other machines find the same files from any folder.
"""

from dataclasses import replace
from pathlib import Path

from fcdist.config.types import Config, ModelConfig, SourceConfig

_NAMES = ("builtin", "bfcl", "debug")
"""Entries of settings that take paths and stand for something that is shipped or installed."""
_TOOL_FILES = (".json", ".jsonl", ".ndjson", ".yaml", ".yml", ".py")


def absolute_paths(config: Config) -> Config:
    """`config` with every path in it absolute; empty ones, names and addresses on the hub stay."""
    generate, merge, data = config.generate, config.merge, config.data
    return replace(
        config,
        run_dir=_path(config.run_dir),
        model=_of_model(config.model),
        generate=replace(
            generate, out_dir=_path(generate.out_dir), catalogue=tuple(map(_catalogue_entry, generate.catalogue))
        ),
        merge=replace(
            merge,
            inputs=tuple(map(_path, merge.inputs)),
            out_dir=_path(merge.out_dir),
            decontaminate=tuple(map(_path, merge.decontaminate)),
        ),
        data=replace(
            data,
            store_dir=_path(data.store_dir),
            sources={name: _of_source(source) for name, source in data.sources.items()},
        ),
        evaluate=replace(
            config.evaluate, suite=_path(config.evaluate.suite), retention=_path(config.evaluate.retention)
        ),
        export=replace(config.export, out_dir=_path(config.export.out_dir)),
    )


def _path(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path and path not in _NAMES else path


def _of_source(source: SourceConfig) -> SourceConfig:
    return source if source.is_on_hub else replace(source, path=_path(source.path))


def _of_model(model: ModelConfig) -> ModelConfig:
    """Hub names and local folders look alike: what exists is a folder."""
    path = model.path if model.package else _if_there(model.path)
    return replace(model, path=path, tokenizer=_if_there(model.tokenizer), chat_template=_path(model.chat_template))


def _if_there(path: str) -> str:
    return _path(path) if path and Path(path).expanduser().exists() else path


def _catalogue_entry(entry: str) -> str:
    """Files and folders, also of modules that lie here, become absolute; installed modules keep their names."""
    if entry in _NAMES or Path(entry).expanduser().exists():
        return _path(entry)
    head, colon, function = entry.rpartition(":")
    if not colon:
        head = entry
    tail = f":{function}" if colon else ""
    if "/" in head or head.endswith(_TOOL_FILES):
        return _path(head) + tail
    module = Path(*head.split("."))
    here = (path for path in (module.with_suffix(".py"), module / "__init__.py") if path.is_file())
    return next((_path(str(path)) + tail for path in here), entry)
