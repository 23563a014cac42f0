"""A Slurm cluster for the tests of this folder."""

import os

import pytest
from slurm_cluster import missing, slurm_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """Two nodes of Slurm. Without its packages tests are skipped with the reason, or fail where FCDIST_TEST_SLURM=1."""
    if reason := missing():
        (pytest.fail if os.environ.get("FCDIST_TEST_SLURM") == "1" else pytest.skip)(reason)
    with slurm_cluster(tmp_path_factory.mktemp("slurm")) as running:
        yield running
