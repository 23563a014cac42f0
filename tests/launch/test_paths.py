"""A run folder's config finds its files from every folder."""

from pathlib import Path

import pytest

from data_pipeline.importers.load import import_catalogue
from fcdist.config.run_folder import read_config, write_config
from launch.compose import compose, recompose

FUNCTION = 'def book_table(guests: int, name: str) -> str:\n    """Book a table."""\n'
OVERRIDES = (
    "data=files",
    "run_dir=run",
    "data.sources.mine.path=rows.jsonl",
    "data.sources.theirs.path=hub:owner/name",
    "data.store_dir=store",
    "generate.out_dir=shards",
    "merge.inputs=[shards,more.jsonl]",
    "merge.decontaminate=[bfcl,secret.txt]",
    "merge.out_dir=merged",
    "evaluate.suite=suite",
    "evaluate.retention=chat.jsonl",
    "export.out_dir=out",
    "model.path=weights",
    "model.chat_template=chat.jinja",
)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A folder with tools, where the command is started."""
    (tmp_path / "weights").mkdir()
    (tmp_path / "tools" / "deep").mkdir(parents=True)
    for path in ("tools/deep/inside.py", "tools.py", "module_of_mine.py"):
        (tmp_path / path).write_text(FUNCTION, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_path_is_absolute_and_names_stay(here):
    config = compose(OVERRIDES)
    paths = [config.run_dir, config.data.sources["mine"].path, config.data.store_dir, config.generate.out_dir]
    paths += [*config.merge.inputs, config.merge.decontaminate[1], config.merge.out_dir, config.evaluate.suite]
    paths += [config.evaluate.retention, config.export.out_dir, config.model.path, config.model.chat_template]
    names = "run rows.jsonl store shards shards more.jsonl secret.txt merged suite chat.jsonl out weights chat.jinja"
    assert paths == [str(here / name) for name in names.split()]
    assert config.data.sources["theirs"].path == "hub:owner/name"
    assert config.merge.decontaminate[0] == "bfcl"


@pytest.mark.parametrize("model", ["debug", "Qwen/Qwen2.5-7B-Instruct"])
def test_names_of_models_stay(model, here):
    assert compose([f"model.path={model}"]).model.path == model


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        ("builtin", "builtin"),
        ("tools", "{}/tools"),
        ("tools.py:book_table", "{}/tools.py:book_table"),
        ("./tools.py", "{}/tools.py"),
        ("not_there_yet.json", "{}/not_there_yet.json"),
        ("module_of_mine:book_table", "{}/module_of_mine.py:book_table"),
        ("tools.deep.inside:book_table", "{}/tools/deep/inside.py:book_table"),
        ("installed.module:function", "installed.module:function"),
    ],
)
def test_entries_of_a_catalogue(entry, found, here):
    assert compose([f"generate.catalogue=['{entry}']"]).generate.catalogue == (found.format(here),)


def test_a_run_goes_on_from_another_folder(here, tmp_path_factory, monkeypatch):
    entries = "[tools.py,'tools.deep.inside:book_table',builtin]"
    config = compose([f"generate.catalogue={entries}", *OVERRIDES])
    write_config(config, here / "run")
    accepted = import_catalogue(config.generate.catalogue).accepted
    other = tmp_path_factory.mktemp("other")
    monkeypatch.chdir(other)
    assert read_config(here / "run") == recompose(here / "run", [], "config.yaml") == config
    import_catalogue.cache_clear()
    assert import_catalogue(config.generate.catalogue).accepted == accepted
    changed = recompose(here / "run", ["merge.inputs=[mine]", "data.sources.new.path=new.jsonl"], "config.yaml")
    assert changed.merge.inputs == (str(other / "mine"),)
    assert [source.path for source in changed.data.sources.values()][::2] == [
        str(here / "rows.jsonl"),
        str(other / "new.jsonl"),
    ]
