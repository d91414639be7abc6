import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from upath import UPath

from ifas_model import plugins
from ifas_model.prompt import QUESTION
from ifas_model.shards import SHARD_SCHEMA
from scf_pipeline import adapters
from scf_pipeline.counts import Counts, Tally
from scf_pipeline.dataset_card import dataset_card
from scf_pipeline.shuffle import FilePlan
from scf_pipeline.store import Artifact

COUNTS = Counts(
    {
        "siw": Tally(live=30, rejected=Counter(degenerate=2), rows_in=40, passed_over=8),
        "image_folder": Tally(live=5, rows_in=5),
    }
)


def plan(split: str, rows: int, index: int = 0, of: int = 1) -> FilePlan:
    return FilePlan(
        number=index,
        split=split,
        index=index,
        of=of,
        buckets=frozenset({index}),
        rows=rows,
        size=rows * 100,
        sources=(),
    )


def captions(model: str, live: int, label: str | None) -> Artifact:
    manifest = {
        "config": {"label": label},
        "inputs": {"faces": "crop@0", "model": model},
        "counts": Counts({"siw": Tally(live=live)}).to_dict(),
        "notes": {"instructions": {"prompt": "a photo of"}},
    }
    return Artifact(UPath("captions"), manifest)


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "words.yaml"
    path.write_text("any content\n")
    return path


def card(
    dictionary: Path,
    plans: Sequence[FilePlan] = (plan("train", 20, 0, 2), plan("train", 10, 1, 2), plan("dev", 5)),
    counts: Counts = COUNTS,
) -> str:
    told = [captions("blip2@abc", 12, "bona_fide"), captions("blip2@def", 23, "attack")]
    return dataset_card(plans, counts, captions=told, dictionary=dictionary)


def header(text: str) -> Mapping[str, Any]:
    _, front, _ = text.split("---\n", 2)
    found: Mapping[str, Any] = yaml.safe_load(front)
    return found


def section(text: str, title: str) -> str:
    return text.split(f"## {title}\n")[1].split("\n## ")[0]


def cells(text: str, title: str) -> list[list[str]]:
    """Return the rows of a section's table, head and rule left out."""
    lines = [line for line in section(text, title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_header_names_the_splits_that_have_rows_and_their_files(dictionary: Path) -> None:
    assert header(card(dictionary)) == {
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "data/train-*.parquet"},
                    {"split": "dev", "path": "data/dev-*.parquet"},
                ],
            }
        ]
    }


def test_rows_of_a_split_are_summed_over_its_files(dictionary: Path) -> None:
    assert cells(card(dictionary), "Splits") == [["train", "30"], ["dev", "5"]]


def test_faces_are_told_by_dataset_with_the_reasons_of_what_is_missing(dictionary: Path) -> None:
    assert cells(card(dictionary), "Faces by dataset") == [
        ["image_folder", "5", "5", "0", "0"],
        ["siw", "40", "30", "2 degenerate", "8"],
    ]


def test_captioners_are_told_with_what_they_captioned(dictionary: Path) -> None:
    assert cells(card(dictionary), "Captioners") == [
        ["`blip2@abc`", "a photo of", "12", "bona_fide"],
        ["`blip2@def`", "a photo of", "23", "attack"],
    ]


def test_one_captioner_may_caption_all_faces(dictionary: Path) -> None:
    told = [captions("blip2@abc", 35, None)]
    text = dataset_card([plan("train", 35)], COUNTS, captions=told, dictionary=dictionary)
    assert cells(text, "Captioners") == [["`blip2@abc`", "a photo of", "35", "all faces"]]


def test_the_dictionary_is_told_by_name_and_hash(dictionary: Path) -> None:
    sha = hashlib.sha256(dictionary.read_bytes()).hexdigest()
    assert section(card(dictionary), "Keywords").strip() == f"`words.yaml`, SHA-256 `{sha}`"


def test_every_dataset_stands_with_its_licence_and_citation(dictionary: Path) -> None:
    names = plugins.names(adapters)
    counts = Counts({name: Tally(live=1, rows_in=1) for name in names})
    known = [plugins.load(adapters, "ADAPTER", name) for name in names]
    assert cells(card(dictionary, counts=counts), "Licences") == [
        [adapter.title, adapter.license, adapter.citation] for adapter in known
    ]


EVIL = (
    "---\nconfigs: evil\n---",
    "\n## Licences\n\nNone needed.",
    "| a | b |",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[here](javascript:alert(1)) ![](http://evil/x.png)",
    "`code` ``` fence",
    "a\\",
    "\x1b[2J\u202e\x00\r",
)


UNESCAPED = r"(?<!\\)(?:\\\\)*{}"


@pytest.mark.parametrize("words", EVIL)
def test_no_word_of_a_stranger_is_markup_or_leaves_its_cell(dictionary: Path, words: str) -> None:
    plain, told = captions("blip2@x", 35, "x"), captions(f"blip2@{words}", 35, words)
    for one, prompt in ((plain, "x"), (told, words)):
        one.manifest["notes"]["instructions"]["prompt"] = prompt
    counts = Counts({"siw": Tally(live=1, rejected=Counter({words: 1}), rows_in=2)})
    plans = [plan("train", 35)]
    text = dataset_card(plans, counts, captions=[told], dictionary=dictionary)
    usual = dataset_card(plans, COUNTS, captions=[plain], dictionary=dictionary)
    assert header(text) == header(usual)
    assert re.findall("(?m)^#.*", text) == re.findall("(?m)^#.*", usual)
    assert set(text) - {"\n"} <= {sign for sign in text if sign.isprintable()}
    for title in ("Captioners", "Faces by dataset"):
        table, usual_table = (section(card, title).strip().splitlines() for card in (text, usual))
        row = re.findall(UNESCAPED.format(r"\|"), table[2])
        assert (len(table), len(row)) == (3, usual_table[2].count("|"))
        assert not re.search(
            UNESCAPED.format(r"[<\[\]`*]"), re.sub(r"(?<!\\)`[^`]*`", "", table[2])
        )


def test_question_and_columns_are_told(dictionary: Path) -> None:
    text = card(dictionary)
    assert QUESTION in text
    assert section(text, "Columns").strip() == ", ".join(f"`{n}`" for n in SHARD_SCHEMA.names)
