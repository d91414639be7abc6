"""Captions and dictionaries of every kind go through the filter: its stage, and its command."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from caption_cases import ALIASES, CASES
from dictionary_cases import INCONSISTENT, MALFORMED, READABLE, encoded
from typer.testing import CliRunner
from upath import UPath

from scf_pipeline import cli
from scf_pipeline.engine.local import LocalEngine
from scf_pipeline.keywords import default_dictionary
from scf_pipeline.schema import CAPTION_SCHEMA, Reject
from scf_pipeline.settings import Settings
from scf_pipeline.stages.filter import FilterConfig, run
from scf_pipeline.store import Artifact, ArtifactWriter
from scf_pipeline.verify import verify

pytestmark = pytest.mark.chaos

ROWS = [(text, species, None, words) for text, species, words in CASES] + ALIASES
PART_ROWS = 50


def is_text(caption: str) -> bool:
    """Tell whether a caption can be UTF-8, as every table's texts are."""
    return not any("\ud800" <= sign <= "\udfff" for sign in caption)


def is_told(caption: str) -> bool:
    """Tell whether the stage before lets a caption live; one without words is degenerate."""
    return is_text(caption) and any(map(str.isalnum, caption))


def caption(number: int, text: str, species: str | None, fine_type: str | None) -> dict:
    return {
        "face_id": f"siw/{number}#0",
        "sample_id": f"siw/{number}",
        "dataset": "siw",
        "split": "train",
        "subject_id": None,
        "label": "attack" if species else "bona_fide",
        "pai_species": species,
        "fine_type": fine_type,
        "caption": text,
        "num_tokens": 1,
        "mean_log_probability": -1.0,
        "captioner": "blip2@general",
        "reject": None,
    }


def write_captions(folder: Path, rows: list[dict]) -> Artifact:
    writer = ArtifactWriter(folder, CAPTION_SCHEMA, settings=Settings("caption", 1, {}, {}))
    for number, start in enumerate(range(0, len(rows), PART_ROWS)):
        part = rows[start : start + PART_ROWS]
        writer.write(number, pa.Table.from_pylist(part, schema=CAPTION_SCHEMA))
    return writer.seal(rows_in={"siw": len(rows)})


def test_every_caption_goes_through_the_stage_and_keeps_its_row(tmp_path: Path, tried) -> None:
    cases = {f"siw/{n}#0": row for n, row in enumerate(ROWS) if is_told(row[0])}
    rows = [caption(n, *row[:3]) for n, row in enumerate(ROWS) if is_told(row[0])]
    captions = write_captions(tmp_path / "captions", rows)
    config = FilterConfig(dictionary=default_dictionary())
    d_s = run(config, captions=captions, out=UPath(tmp_path / "d_s"), engine=LocalEngine())
    told = {row["face_id"]: row for part in d_s.parts() for row in part.read_all().to_pylist()}
    for face_id, (text, species, _, keywords) in cases.items():
        if species is None:
            assert face_id not in told
            continue
        row = told.pop(face_id)
        assert (row["caption"], row["keywords"]) == (text, keywords)
        assert row["reject"] == (None if keywords else Reject.NO_KEYWORD)
    assert told == {}
    assert d_s.counts.imbalance() is None
    assert d_s.counts.rows_in == len(rows)
    assert verify(UPath(tmp_path / "d_s")) == []
    tried("caption texts", cases=len(rows))


def test_a_caption_that_is_no_text_gets_into_no_table(tried) -> None:
    """Half of a surrogate pair: Arrow refuses it where the table is made, before any stage."""
    captions = [row[0] for row in ROWS if not is_text(row[0])]
    for text in captions:
        with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
            pa.Table.from_pylist([caption(0, text, "print", None)], schema=CAPTION_SCHEMA)
    tried("caption texts", cases=len(captions))


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("words") / "captions"
    write_captions(folder, [caption(0, "a man on paper", "print", None)])
    return folder


def filter_by(dictionary: Path, captions: Path, out: Path) -> tuple[int, str, list[str]]:
    """Run `scf filter`; return exit status, stdout and the lines of stderr."""
    arguments = ["filter", str(captions), "--out", str(out), "--dictionary", str(dictionary)]
    done = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
    return done.exit_code, done.stdout, done.stderr.splitlines()


def check_refused(dictionary: Path, captions: Path, out: Path) -> str:
    """Check that a dictionary is refused in three lines, and return the first."""
    status, stdout, lines = filter_by(dictionary, captions, out)
    assert (status, stdout, len(lines)) == (1, "", 3), lines
    assert lines[0].startswith("error: ")
    assert lines[1].startswith(f"  where: {dictionary}")
    assert lines[2].startswith("  fix:   ")
    assert not out.exists()
    return lines[0]


@pytest.mark.parametrize("name", READABLE)
def test_a_good_dictionary_filters(name: str, captions: Path, tmp_path: Path, tried) -> None:
    (tmp_path / "words.yaml").write_bytes(encoded(READABLE[name][0]))
    status, stdout, _ = filter_by(tmp_path / "words.yaml", captions, tmp_path / "d_s")
    assert (status, stdout) == (0, f"{tmp_path / 'd_s'}\n")
    assert Artifact.open(tmp_path / "d_s").counts.rows_in == 1
    tried("YAML dictionaries")


@pytest.mark.parametrize("name", [*MALFORMED, *INCONSISTENT])
def test_a_bad_dictionary_is_refused_in_three_lines(
    name: str, captions: Path, tmp_path: Path, tried
) -> None:
    content, what, _ = (MALFORMED | INCONSISTENT)[name]
    dictionary = tmp_path / "words.yaml"
    dictionary.write_bytes(encoded(content))
    said = check_refused(dictionary, captions, tmp_path / "d_s")
    assert what in said
    tried("YAML dictionaries")


def make_loop(path: Path) -> None:
    path.symlink_to(path)


def make_dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def make_endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_secret(path: Path) -> None:
    path.write_text("keywords: {print: [paper]}\n")
    path.chmod(0)
    try:
        path.read_text()
    except PermissionError:
        return
    pytest.skip("this user may read everything")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "No such file"),
        (Path.mkdir, "Is a directory"),
        (make_loop, "symbolic links"),
        (make_dangling, "No such file"),
        (make_endless, "at most 1000000 bytes"),
        (make_secret, "Permission denied"),
    ],
    ids=["absent", "folder", "loop", "dangling", "endless", "secret"],
)
def test_what_is_no_file_to_read_is_no_dictionary(
    make: Callable[[Path], None], why: str, captions: Path, tmp_path: Path, tried
) -> None:
    make(tmp_path / "words.yaml")
    assert why in check_refused(tmp_path / "words.yaml", captions, tmp_path / "d_s")
    tried("YAML dictionaries")
