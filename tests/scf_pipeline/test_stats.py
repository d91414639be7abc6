"""The audit: what captioners say, counted out of core, against a second and naive count."""

import json
import subprocess
import sys
import weakref
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.schema import CAPTION_SCHEMA, is_held_out
from scf_pipeline.settings import Settings
from scf_pipeline.stats import ALL, KINDS, audit, funnel
from scf_pipeline.store import Artifact, ArtifactWriter, FilePart

DICTIONARY = KeywordDictionary.load(Path(__file__).parents[2] / "keyword_dicts/spoof_aware.yaml")
GENERAL, AWARE = "blip2@general", "blip2@aware"


def caption(number, species, text, *, captioner=GENERAL, dataset="siw", subject="s", reject=None):
    return {
        "face_id": f"{dataset}/{number}#0",
        "sample_id": f"{dataset}/{number}",
        "dataset": dataset,
        "split": "train",
        "subject_id": subject,
        "label": "attack" if species else "bona_fide",
        "pai_species": species,
        "fine_type": f"{species}_flat" if species else None,
        "caption": text,
        "num_tokens": 1,
        "mean_log_probability": -1.0,
        "captioner": captioner,
        "reject": reject,
    }


def artifact(path, *parts) -> Artifact:
    writer = ArtifactWriter(path, CAPTION_SCHEMA, settings=Settings("caption", 1, {}, {}))
    for number, rows in enumerate(parts):
        writer.write(number, pa.Table.from_pylist(rows, schema=CAPTION_SCHEMA))
    return writer.seal()


def by_group(rows):
    return {(row.captioner, row.dataset, row.kind): row for row in rows}


WORDS = ["a", "man", "paper", "screen", "mask", "with", "no", "A", "mannequin", "tall", "on"]


def draw(seed, captioner, size=200):
    """Random captions of three datasets, every species, some degenerate."""
    rng = np.random.default_rng(seed)

    def pick(*options):
        return options[rng.integers(len(options))]

    return [
        caption(
            number,
            pick(None, *map(str, PaiSpecies)),
            " ".join(rng.choice(WORDS, rng.integers(1, 7))),
            captioner=captioner,
            dataset=pick("siw", "wmca", "oulu_npu"),
            subject=pick(None, "1", "2", "3"),
            reject="degenerate" if rng.random() < 0.1 else None,
        )
        for number in range(size)
    ]


def naive(rows):
    """The same figures, counted row by row and with plain sets."""
    live = [row for row in rows if row["reject"] is None]
    has_words = {str(keyword.species) for keyword in DICTIONARY.keywords}
    judged = [row for row in rows if row["pai_species"] in has_words]
    species = list(PaiSpecies)

    def named(row, wanted):
        return any(DICTIONARY.matches(row["caption"], s) for s in wanted)

    own = [r for r in live if r["pai_species"] and named(r, [r["pai_species"]])]
    other = [r for r in live if named(r, [s for s in species if s != r["pai_species"]])]
    words = [row["caption"].lower().split() for row in live]
    flat = [word for text in words for word in text]
    pairs = [pair for text in words for pair in pairwise(text)]
    return {
        "rows": len(rows),
        "judged": len(judged),
        "own_rate": len(own) / len(judged) if judged else None,
        "other_rate": len(other) / len(rows),
        "any_rate": sum(named(row, species) for row in live) / len(rows),
        "degenerate_rate": 1 - len(live) / len(rows),
        "mean_words": len(flat) / len(live) if live else None,
        "distinct_1": len(set(flat)) / len(flat) if flat else None,
        "distinct_2": len(set(pairs)) / len(pairs) if pairs else None,
    }


def chosen(rows, captioner, dataset, kind):
    kinds = {"attack": set(map(str, PaiSpecies)), "bona_fide": {None}}.get(kind, {kind})
    return [
        row
        for row in rows
        if row["captioner"] == captioner
        and dataset in (row["dataset"], ALL)
        and row["pai_species"] in kinds
    ]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    general, aware = draw(1, GENERAL), draw(2, AWARE)
    folder = tmp_path_factory.mktemp("captions")
    return general + aware, [
        artifact(folder / "general", *(general[n : n + 17] for n in range(0, 200, 17))),
        artifact(folder / "aware", aware[:150], aware[150:]),
    ]


def test_figures_equal_a_naive_count(drawn) -> None:
    rows, artifacts = drawn
    found = by_group(audit(artifacts, DICTIONARY))
    groups = {
        (captioner, dataset, kind)
        for captioner in (GENERAL, AWARE)
        for dataset in ("siw", "wmca", "oulu_npu", ALL)
        for kind in KINDS
    }
    assert found.keys() == {group for group in groups if chosen(rows, *group)}
    for group, row in found.items():
        expected = naive(chosen(rows, *group))
        assert {name: asdict(row)[name] for name in expected} == pytest.approx(expected)


def test_held_out_subjects_are_audited_alone(drawn) -> None:
    rows, artifacts = drawn
    kept = [
        row
        for row in rows
        if is_held_out(row["dataset"], row["subject_id"] or row["sample_id"], 0.4)
    ]
    assert 0 < len(kept) < len(rows)
    found = by_group(audit(artifacts, DICTIONARY, held_out=0.4))
    for group, row in found.items():
        expected = naive(chosen(kept, *group))
        assert {name: asdict(row)[name] for name in expected} == pytest.approx(expected)
    assert sum(r.rows for g, r in found.items() if g[1] != ALL and g[2] != "attack") == len(kept)


def test_nobody_held_out_gives_no_rows(drawn) -> None:
    assert audit(drawn[1], DICTIONARY, held_out=0.0) == []
    assert audit([], DICTIONARY) == []


def test_captioners_stand_side_by_side(drawn) -> None:
    rows = audit(drawn[1], DICTIONARY)
    pairs = [(row.dataset, row.kind, row.captioner) for row in rows]
    assert pairs[:2] == [("oulu_npu", "print", GENERAL), ("oulu_npu", "print", AWARE)]
    assert pairs[-2:] == [(ALL, "bona_fide", GENERAL), (ALL, "bona_fide", AWARE)]
    swapped = audit(drawn[1][::-1], DICTIONARY)
    assert [row.captioner for row in swapped[:2]] == [AWARE, GENERAL]
    assert by_group(swapped) == by_group(rows)


def test_parts_do_not_change_the_figures(tmp_path) -> None:
    rows = draw(3, GENERAL, size=60)
    whole = audit([artifact(tmp_path / "whole", rows)], DICTIONARY)
    split = audit([artifact(tmp_path / "split", *([row] for row in rows[::-1]))], DICTIONARY)
    assert split == whole


def test_a_degenerate_caption_names_nothing(tmp_path) -> None:
    rows = [caption(0, "print", "paper paper", reject="degenerate"), caption(1, "print", "paper")]
    row = audit([artifact(tmp_path / "a", rows)], DICTIONARY)[0]
    assert (row.rows, row.own_rate, row.degenerate_rate, row.mean_words) == (2, 0.5, 0.5, 1.0)


def test_a_species_without_keywords_has_no_rate_of_its_own(tmp_path) -> None:
    rows = [caption(0, "makeup", "a mask"), caption(1, "print", "paper")]
    found = by_group(audit([artifact(tmp_path / "a", rows)], DICTIONARY))
    assert found[GENERAL, "siw", "makeup"].own_rate is None
    assert found[GENERAL, "siw", "makeup"].other_rate == 1.0
    assert found[GENERAL, "siw", "attack"].own_rate == 1.0


def test_bona_fide_pictures_show_false_alarms(tmp_path) -> None:
    rows = [caption(0, None, "a man with paper"), caption(1, None, "a man")]
    row = audit([artifact(tmp_path / "a", rows)], DICTIONARY)[0]
    assert (row.kind, row.own_rate, row.any_rate) == ("bona_fide", None, 0.5)


def test_pairs_do_not_cross_captions(tmp_path) -> None:
    rows = [caption(0, "print", "a b"), caption(1, "print", "c d"), caption(2, "print", "x")]
    row = audit([artifact(tmp_path / "a", rows)], DICTIONARY)[0]
    assert row.distinct_2 == 1.0
    assert row.distinct_1 == 1.0


def test_few_parts_are_in_memory_at_a_time(tmp_path, monkeypatch) -> None:
    alive: list[weakref.ref] = []
    most = 0
    read_all = FilePart.read_all

    def watched(part, columns=None):
        nonlocal most
        table = read_all(part, columns)
        alive.append(weakref.ref(table))
        most = max(most, sum(one() is not None for one in alive))
        return table

    monkeypatch.setattr(FilePart, "read_all", watched)
    parts = [[caption(n, "print", f"paper {n}")] for n in range(60)]
    import dask

    with dask.config.set(num_workers=2):
        rows = audit([artifact(tmp_path / "a", *parts)], DICTIONARY)
    assert rows[0].rows == len(alive) == 60
    assert most <= 4


def test_a_funnel_counts_every_row_by_reason(tmp_path) -> None:
    rows = [
        caption(0, "print", "paper"),
        caption(1, "print", "x", reject="no_keyword"),
        caption(2, "mask", "x", reject="no_keyword"),
        caption(3, "mask", "x", reject="conflict", dataset="wmca"),
        caption(4, None, "x"),
    ]
    found = {
        (row.dataset, row.kind): row for row in funnel(artifact(tmp_path / "a", rows[:2], rows[2:]))
    }
    assert (found["siw", "print"].rows, found["siw", "print"].live) == (2, 1)
    assert found["siw", "print"].rejected == {"no_keyword": 1}
    assert (found["siw", "mask"].live, found["siw", "mask"].rejected) == (0, {"no_keyword": 1})
    assert found[ALL, "attack"].rows == 4
    assert found[ALL, "attack"].rejected == {"conflict": 1, "no_keyword": 2}
    assert found[ALL, "bona_fide"].rejected == {}
    assert list(found) == sorted(
        found, key=lambda group: (group[0] == ALL, group[0], KINDS.index(group[1]))
    )


def test_rows_are_plain_data(drawn) -> None:
    rows = [asdict(row) for row in audit(drawn[1], DICTIONARY)]
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_importing_it_imports_nothing_heavy() -> None:
    code = "import sys, json, scf_pipeline.stats; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert not {"dask", "pandas", "torch", "ray"} & set(json.loads(done.stdout))


def test_pairs_in_either_order_are_two(tmp_path) -> None:
    rows = [caption(0, "print", "a b"), caption(1, "print", "b a"), caption(2, "print", "a b")]
    row = audit([artifact(tmp_path / "a", rows)], DICTIONARY)[0]
    assert (row.distinct_1, row.distinct_2) == pytest.approx((2 / 6, 2 / 3))
