import pytest
from llm_server import KEY


@pytest.fixture
def words_key(monkeypatch):
    """The key of the loopback server, in the variable that the tests' settings name."""
    monkeypatch.setenv("WORDS_KEY", KEY)
    return KEY
