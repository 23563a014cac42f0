"""The shell of the worker programs: exit codes, one-line errors, no traceback."""

import pytest

from fcdist.config.entry import entry
from fcdist.config.run_folder import write_config
from fcdist.config.types import Config
from fcdist.errors import CheckpointError


@pytest.fixture
def run_dir(tmp_path):
    write_config(Config(name="first"), tmp_path)
    write_config(Config(name="second"), tmp_path, "config.other.yaml")
    return str(tmp_path)


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (3, 3)])
def test_exit_code_is_the_body_s(run_dir, returned, code):
    assert entry("p", lambda config, folder, arguments: returned, [run_dir]) == code


def test_body_gets_config_folder_and_arguments(run_dir):
    seen = []

    def body(config, folder, arguments):
        seen.append((config.name, str(folder), arguments.pack))

    argv = [run_dir, "--config", "config.other.yaml", "--pack", "4"]
    assert entry("p", body, argv, lambda parser: parser.add_argument("--pack", type=int)) == 0
    assert seen == [("second", run_dir, 4)]


def test_user_error_is_one_line(run_dir, capsys):
    def body(config, folder, arguments):
        raise CheckpointError("step-000001 is torn")

    assert entry("p", body, [run_dir]) == 2
    assert capsys.readouterr().err == "error: step-000001 is torn\n"


def test_missing_config_is_a_user_error(tmp_path, capsys):
    assert entry("p", lambda *_: 0, [str(tmp_path)]) == 2
    assert "no frozen config" in capsys.readouterr().err


def test_interrupt_has_its_own_code(run_dir, capsys):
    def body(config, folder, arguments):
        raise KeyboardInterrupt

    assert entry("p", body, [run_dir]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_defect_keeps_its_traceback(run_dir):
    def body(config, folder, arguments):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        entry("p", body, [run_dir])
