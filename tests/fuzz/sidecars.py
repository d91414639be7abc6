"""Fuzz what reads the text files of datasets: face annotations are read, lists read or refused.

    python tests/fuzz/sidecars.py -max_total_time=600        (`make fuzz` runs all)

Any option of libFuzzer may follow. The path must hold the repository and ``tests/cases``.
"""

import logging
from contextlib import suppress

import atheris

with atheris.instrument_imports(include=["scf_pipeline.adapters"]):
    from ifas_model import plugins
    from scf_pipeline import adapters

    for name in plugins.names(adapters):
        plugins.load(adapters, "ADAPTER", name)

import fuzzing
from sidecar_cases import SIDECARS, List, prepare, read

from scf_pipeline.errors import DatasetLayoutError

ROOTS = [fuzzing.FOLDER / str(number) for number in range(len(SIDECARS))]


def feed(content: bytes) -> None:
    """Give a file to the reader that the first byte names."""
    number = content[0] % len(SIDECARS) if content else 0
    case = SIDECARS[number]
    with suppress(*[DatasetLayoutError] if isinstance(case, List) else []):
        read(case, ROOTS[number], content[1:])


if __name__ == "__main__":
    logging.disable()  # an adapter warns of a list that lacks its twin, each time
    for case, root in zip(SIDECARS, ROOTS, strict=True):
        prepare(case, root)
    official = [case.official for case in SIDECARS]
    seeds = [bytes([number]) + text.encode() for number, text in enumerate(official)]
    words = {word for text in official for word in text.replace(",", " ").split()}
    fuzzing.fuzz(feed, seeds, [*sorted(words), "1e308", "-1e200", "nan", "\ufeff", "\n", ","])
