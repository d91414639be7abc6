"""How a target is fuzzed: libFuzzer grows inputs that reach new code, from official ones."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import atheris

MEMORY = Path("/dev/shm")  # noqa: S108 - inputs are written some thousand times a second

FOLDER = Path(tempfile.mkdtemp(prefix="scf-fuzz-", dir=MEMORY if MEMORY.is_dir() else None))
"""Where inputs lie, until the end: in memory where the machine has such a place."""


def fuzz(target: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[str]) -> None:
    """Feed a target until the time is over, and exit.

    The first exception that the target lets out ends all; libFuzzer then tells where its input is.

    Args:
        target: Takes an input; whatever it raises is a crash.
        seeds: Inputs to begin with.
        words: What mutations may put in.
    """
    if child := os.fork():  # libFuzzer ends its process without a word to Python
        try:
            _, status = os.waitpid(child, 0)
        finally:
            shutil.rmtree(FOLDER)
        sys.exit(os.waitstatus_to_exitcode(status))
    corpus, dictionary = FOLDER / "corpus", FOLDER / "words"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"{number:04d}").write_bytes(seed)
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in words)
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped))
    crashes = tempfile.mkdtemp(prefix="scf-crash-")
    options = [f"-dict={dictionary}", f"-artifact_prefix={crashes}/", "-max_len=2048"]
    limits = ["-timeout=60", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, *limits, *sys.argv[1:], str(corpus)], target)
    atheris.Fuzz()
