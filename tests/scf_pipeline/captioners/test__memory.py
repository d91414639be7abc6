import os

import pytest

from scf_pipeline.captioners._memory import LARGE_PAGES, use_large_pages


@pytest.mark.parametrize("said", [None, "0", "1"])
def test_large_pages_are_asked_for_unless_the_environment_says_otherwise(said, monkeypatch):
    monkeypatch.setenv(LARGE_PAGES, said or "")
    if said is None:
        monkeypatch.delenv(LARGE_PAGES)
    use_large_pages()
    assert os.environ[LARGE_PAGES] == (said or "1")
