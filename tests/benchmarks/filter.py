"""Rows a second of `scf filter` and `scf stats` on millions of distinct captions, and their memory.

The script draws the captions itself (see `_captions.py`) and seals them as an artifact. Then it
takes turns: the filter stage, in one process unless told otherwise; the same with no search, which
is the limit that reading and writing set; the stage on captions that repeat; and polars from file
to file, which looks for the same words and applies no rule of the dictionary. On captions in
memory, one core each: our search, pyarrow's RE2, polars and a loop of Python's `re`. The memory is
that of the commands `scf filter` and `scf stats` with all their processes.

Example: python tests/benchmarks/filter.py --rows 10000000
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from _captions import write_captions
from _memory import run_watched
from _report import machine, publish, ratios, spread, take_turns
from upath import UPath

from scf_pipeline.engine import Kernel, Resources, choose
from scf_pipeline.keywords import KeywordDictionary, default_dictionary
from scf_pipeline.schema import CAPTION_SCHEMA, FILTER_SCHEMA, coded
from scf_pipeline.settings import Settings
from scf_pipeline.stages import filter as stage
from scf_pipeline.store import Artifact, ArtifactWriter

PACKAGES = ("pyarrow", "polars", "ray", "dask", "numpy")
SCF = (sys.executable, "-c", "from scf_pipeline.cli import app; app()")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(dir=options.place) as place:
        found = measure(Path(place), options)
    publish({"options": vars(options), "machine": machine(PACKAGES)} | found, rows(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return sizes and counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default, told in (
        ("rows", 2_000_000, "captions, all of them distinct"),
        ("part-rows", 100_000, "captions in one part"),
        ("vocabulary", 5_000, "distinct captions where they repeat"),
        ("workers", 0, "Ray workers; 0 is the command's own process"),
        ("rounds", 5, "turns of each contender"),
        ("searched", 200_000, "captions that are searched in memory"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=told)
    parser.add_argument("--place", type=Path, help="folder for files; else that of the system")
    return parser.parse_args(arguments)


def measure(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return rates, seconds and memory."""
    write = partial(write_captions, rows=options.rows, part_rows=options.part_rows)
    distinct = write(place / "distinct")
    repeated = write(place / "repeated", vocabulary=options.vocabulary)
    commands = {
        "scf filter": [*SCF, "filter", str(distinct.path), "--workers", str(options.workers)],
        "scf stats": [*SCF, "stats", str(distinct.path)],
    }
    commands["scf filter"] += ["--out", str(place / "by-command")]
    return {
        "sizes": sizes(distinct),
        "commands": {name: asdict(run_watched(command)) for name, command in commands.items()},
        "files": measure_files(place, distinct, repeated, options),
        "memory": measure_search(distinct, options),
    }


def sizes(captions: Artifact) -> dict[str, Any]:
    """Return how large the rows are."""
    texts = captions.parts()[0].read(["caption"])["caption"]
    bytes_ = sum(entry["bytes"] for entry in captions.files.values())
    return {
        "rows": captions.counts.live,
        "parts": len(captions.parts()),
        "bytes_a_row": bytes_ / captions.counts.live,
        "letters_a_caption": pc.mean(pc.utf8_length(texts)).as_py(),
        "words_a_caption": pc.mean(pc.list_value_length(pc.utf8_split_whitespace(texts))).as_py(),
    }


def measure_files(
    place: Path, distinct: Artifact, repeated: Artifact, options: argparse.Namespace
) -> dict[str, Any]:
    """Run stages from file to file, turn by turn; return rows a second."""
    started = time.perf_counter()
    engine = choose(options.workers)
    ray_seconds = time.perf_counter() - started
    kept: dict[str, int] = {}

    def new(name: str) -> UPath:
        shutil.rmtree(place / name, ignore_errors=True)
        return UPath(place / name)

    def filter_(captions: Artifact, name: str) -> None:
        config = stage.FilterConfig(dictionary=default_dictionary())
        out = stage.run(config, captions=captions, out=new(f"filtered-{name}"), engine=engine)
        kept[name] = out.counts.live

    def copy() -> None:
        settings = Settings("copy", 1, {}, {"captions": distinct.name})
        writer = ArtifactWriter(new("copied"), coded(FILTER_SCHEMA), settings=settings)
        todo = writer.missing(distinct.parts(coded(CAPTION_SCHEMA)))
        for _ in engine.map_parts(make_copy, todo, writer.write, Resources(is_cheap=True)):
            pass
        writer.seal()

    cases = {
        "filter": partial(filter_, distinct, "distinct"),
        "reading and writing alone": copy,
        "filter, captions repeat": partial(filter_, repeated, "repeated"),
        "polars, words alone": partial(by_polars, distinct, place / "polars.parquet"),
    }
    seconds = take_turns(cases, options.rounds)
    rows = distinct.counts.live
    return {
        "ray_start_seconds": ray_seconds,
        "rows_a_second": {name: spread([rows / s for s in took]) for name, took in seconds.items()},
        "filter_over_limit": spread(
            ratios(seconds["reading and writing alone"], seconds["filter"])
        ),
        "polars_threads": pl.thread_pool_size(),
        "kept_share": {name: number / rows for name, number in kept.items()},
    }


def make_copy() -> Kernel:
    """Return a kernel that does everything but search."""
    return copy_rows


def copy_rows(captions: pa.Table) -> pa.Table:
    """Return captions as rows of the filter, without keywords."""
    nothing = pa.repeat(pa.scalar([], pa.list_(pa.string())), len(captions))
    for name in ("keywords", "other_keywords"):
        captions = captions.append_column(name, nothing)
    return captions.cast(coded(FILTER_SCHEMA))


def pattern() -> str:
    """Return a pattern of the default dictionary's keywords as they are spelled."""
    words = KeywordDictionary.load(default_dictionary()).keywords
    return rf"\b(?:{'|'.join(re.escape(word.text) for word in words)})\b"


def by_polars(captions: Artifact, out: Path) -> None:
    """Add the words that occur, and write all rows: what one would write in an afternoon."""
    rows = pl.scan_parquet([part.path for part in captions.parts()])
    found = pl.col("caption").str.to_lowercase().str.extract_all(pattern())
    rows.with_columns(keywords=found).sink_parquet(out, compression="zstd", compression_level=1)


def measure_search(captions: Artifact, options: argparse.Namespace) -> dict[str, Any]:
    """Search captions in memory, turn by turn, one core each; return captions a second."""
    columns = ["caption", "pai_species", "fine_type"]
    number = -(-options.searched // options.part_rows)
    parts = [part.read(columns) for part in captions.parts()[:number]]
    table = pa.concat_tables(parts)[: options.searched].combine_chunks()
    dictionary, words = KeywordDictionary.load(default_dictionary()), pattern()
    texts = table["caption"]
    as_polars, as_python, loop = pl.Series(texts), texts.to_pylist(), re.compile(words).search
    cases = {
        "match_columns: all rules, keywords by species": lambda: dictionary.match_columns(
            *(table[name] for name in columns)
        ),
        "pyarrow RE2: does a word occur": lambda: pc.match_substring_regex(texts, words),
        "polars: does a word occur": lambda: as_polars.str.contains(words),
        "polars: which words occur": lambda: as_polars.str.extract_all(words),
        "Python's re: does a word occur": lambda: [loop(text) for text in as_python],
    }
    seconds = take_turns(cases, options.rounds)
    rate = {name: spread([len(table) / s for s in took]) for name, took in seconds.items()}
    return {"captions": len(table), "captions_a_second": rate}


def rows(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the figures for people."""
    files, memory, told = found["files"], found["memory"], found["sizes"]
    return [
        (f"rows, in {told['parts']} parts", told["rows"]),
        ("letters of a caption", told["letters_a_caption"]),
        *((f"{name}, rows/s", rate) for name, rate in files["rows_a_second"].items()),
        ("filter, share of the limit", files["filter_over_limit"]),
        ("start of Ray, s", files["ray_start_seconds"]),
        ("rows kept, share", files["kept_share"]["distinct"]),
        *((f"{name}, /s", rate) for name, rate in memory["captions_a_second"].items()),
        *(
            (f"`{name}`: {key}", value)
            for name, usage in found["commands"].items()
            for key, value in usage.items()
        ),
    ]


if __name__ == "__main__":
    main()
