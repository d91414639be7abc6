"""Fuzz the loader of keyword dictionaries: a file loads, and then finds its words, or is refused.

    python tests/fuzz/dictionary.py -max_total_time=600        (`make fuzz` runs all)

Any option of libFuzzer may follow. The path must hold the repository and ``tests/cases``.
"""

import atheris

with atheris.instrument_imports(include=["ifas_model", "scf_pipeline", "yaml"]):
    from scf_pipeline.errors import ConfigError
    from scf_pipeline.keywords import KeywordDictionary

import fuzzing
import pyarrow as pa
from dictionary_cases import INCONSISTENT, MALFORMED, READABLE, encoded

FILE = fuzzing.FOLDER / "words.yaml"
LONGEST_SEED = 2048
SIGNS = (
    ": ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    "|",
    "\n",
    "\n  - ",
    "'",
    '"',
    "~",
    "<<",
    "&a",
    "*a",
)


def load(content: bytes) -> None:
    """Load a dictionary; what loads finds each keyword in itself, in columns too."""
    FILE.write_bytes(content)
    try:
        dictionary = KeywordDictionary.load(FILE)
    except ConfigError as error:
        check_refusal(error)
        return
    captions = [f"_, {keyword.text}" for keyword in dictionary.keywords[:20]]
    found = [dictionary.find(caption) for caption in captions]
    assert all(number in numbers for number, numbers in enumerate(found)), captions
    species = pa.array([str(keyword.species) for keyword in dictionary.keywords[:20]])
    own, other = dictionary.match_columns(pa.array(captions), species, pa.nulls(len(captions)))
    assert [len(a) + len(b) for a, b in zip(own, other, strict=True)] == [len(n) for n in found]


def check_refusal(error: ConfigError) -> None:
    """Check that a refusal tells what, where and how to mend it."""
    assert error.where.startswith(str(FILE)), error.where
    assert error.what
    assert error.fix


if __name__ == "__main__":
    cases = [case[0] for group in (READABLE, MALFORMED, INCONSISTENT) for case in group.values()]
    seeds = [content for content in map(encoded, cases) if len(content) <= LONGEST_SEED]
    words = {word for one, _ in READABLE.values() for word in encoded(one).decode().split()}
    short = sorted(word for word in words if len(word) <= 20)
    fuzzing.fuzz(load, seeds, [*SIGNS, *short])
