import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from ifas_model.results import (
    CHECKPOINT_POLICIES,
    ErrorRates,
    Result,
    auc_bounds,
    auc_bounds_at_eer,
    load,
    save,
)

RATES = ErrorRates(
    threshold=0.5, far=0.1, bpcer=0.3, hter=0.2, apcer={"replay": 0.0, "print": 0.2}, acer=0.25
)
RESULT = Result(
    method="ifas",
    variant="full",
    world="hard",
    protocol="protocol2",
    target="wmca",
    role="target",
    sources=("celeba_spoof",),
    seed=0,
    checkpoint_policy="last",
    auc=0.9,
    eer=0.2,
    tpr_at_fpr_1=0.5,
    tpr_at_fpr_01=0.25,
    ece=0.05,
    rates={"eer_on_test": RATES, "fixed": replace(RATES, threshold=0.25)},
    intervals={"auc": (0.85, 0.95)},
    frame_auc=0.875,
    frame_hter=0.225,
    counts={"samples": 30, "faces": 60, "bona_fide": 10, "attack": 20, "print": 10, "replay": 10},
    roc=((0.0, 0.0), (0.1, 0.7), (1.0, 1.0)),
    is_inverted=False,
    settings={"seed": 0, "method": {"method": "ifas", "loss": {"alpha": 0.7}}, "target": None},
    inputs={"model": "train-0123abcd", "shards": "shard-4567cdef"},
)


def test_a_result_comes_back_from_plain_data() -> None:
    data = json.loads(json.dumps(RESULT.to_dict()))
    assert Result.from_dict(data) == RESULT


def test_a_file_of_results_comes_back_and_ends_a_line(tmp_path: Path) -> None:
    results = [RESULT, replace(RESULT, role="source", target="celeba_spoof")]
    save(results, tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text(encoding="utf-8")
    assert load(tmp_path / "results.json") == results
    assert text.endswith("]\n")
    assert [one["role"] for one in json.loads(text)] == ["target", "source"]


def test_no_results_make_a_file_too(tmp_path: Path) -> None:
    save([], tmp_path / "results.json")
    assert load(tmp_path / "results.json") == []


def test_equal_results_give_equal_bytes(tmp_path: Path) -> None:
    counts = dict(reversed(RESULT.counts.items()))
    for name, one in (("a", RESULT), ("b", replace(RESULT, counts=counts))):
        save([one], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_settings_that_json_cannot_hold_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save([replace(RESULT, settings={"alpha": float("nan")})], tmp_path / "results.json")
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("field", [one.name for one in fields(Result)])
def test_every_field_must_be_given(field: str) -> None:
    data = RESULT.to_dict()
    del data[field]
    with pytest.raises(ValueError, match=f"`{field}` must be given, but is absent"):
        Result.from_dict(data)


RATES_DATA = RESULT.to_dict()["rates"]["fixed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aucc": 0.5}, "`aucc` must be a known field"),
        ({"auc": 1.5}, "`auc` must be less than or equal to 1, but is 1.5"),
        ({"eer": -0.5}, "`eer` must be greater than or equal to 0, but is -0.5"),
        ({"auc": float("nan")}, "`auc` must be a finite number, but is nan"),
        ({"auc": "0.9"}, "`auc` must be a valid number, but is '0.9'"),
        ({"seed": 1.5}, "`seed` must be a valid integer, but is 1.5"),
        ({"role": "dev"}, "`role`: must be one of target, source, but is 'dev'"),
        ({"checkpoint_policy": "first"}, "but is 'first'"),
        ({"rates": {"eer": RATES_DATA}}, "must be one of eer_on_test, eer_on_dev, fixed"),
        ({"rates": {"fixed": {**RATES_DATA, "fnr": 0}}}, r"`rates\.fixed\.fnr` must be a known"),
        ({"intervals": {"auc": [0.5]}}, r"`intervals\.auc\.1` must be given"),
        ({"roc": [[0.0, 0.0]] * 102}, "at most 101"),
        ({"counts": {"samples": 1}}, r"must have 'faces', but has \['samples'\]"),
        (
            {"counts": {"samples": 30, "faces": 60, "bona_fide": 11, "attack": 20}},
            "30 samples are 11 bona fide and 20 attack",
        ),
    ],
)
def test_a_wrong_value_is_printed_with_its_field(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Result.from_dict({**RESULT.to_dict(), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hter": 0.3}, "`hter` must be 0.2, as follows from the others, but is 0.3"),
        ({"acer": 0.2}, "`acer` must be 0.25, as follows from the others, but is 0.2"),
        ({"apcer": {}}, "`apcer` must name at least one PAI species"),
        ({"threshold": float("inf")}, "finite number"),
    ],
)
def test_error_rates_cannot_contradict_themselves(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RATES, **change)


@pytest.mark.parametrize("policy", CHECKPOINT_POLICIES)
def test_every_checkpoint_policy_can_be_said(policy: str) -> None:
    one = replace(RESULT, checkpoint_policy=policy)
    assert Result.from_dict(one.to_dict()) == one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", r"bad\.json: must hold JSON: EOF"),
        ("{}", r"bad\.json: must be a valid list"),
        ("[1]", r"bad\.json: `0` must be an object, but is 1"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.json").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "bad.json")


def test_a_wrong_field_in_a_file_is_named_with_the_number_of_its_result(tmp_path: Path) -> None:
    data = [RESULT.to_dict(), {**RESULT.to_dict(), "eer": 3}]
    (tmp_path / "bad.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(ValueError, match=r"bad\.json: `1\.eer` must be less .* 1, but is 3"):
        load(tmp_path / "bad.json")


# Tables 1 and 2 as printed, HTER/AUC in percent: rows of the paper and of what it compares with.
TABLE_1 = """
9.17/96.92 12.47/93.47 16.29/90.11 13.58/93.55 9.20/98.00 12.20/93.00 10.00/96.00 14.40/92.60
7.10/98.46 11.33/94.58 13.40/95.67 11.82/95.07 6.67/98.75 10.00/96.67 8.88/96.79 13.72/93.63
5.41/98.19 8.70/96.40 10.62/94.50 8.86/97.14 5.95/98.47 9.82/96.76 5.86/98.62 10.97/95.36
4.16/98.48 7.59/98.18 9.62/98.18 10.00/96.15 5.95/96.55 8.78/95.37 6.58/97.54 10.00/96.23
2.86/99.14 8.67/96.92 3.71/99.29 13.06/94.04 5.00/97.56 8.20/95.16 4.29/98.87 8.60/97.16
4.95/98.11 0.54/99.98 4.25/99.07 2.31/99.63 1.43/99.28 2.56/99.10 5.43/98.41 2.50/99.42
0.32/99.88 0.04/99.99 3.22/98.48 1.74/99.66
"""
TABLE_2 = """
3.11/99.48 0.70/99.86 0.93/99.95 4.88/98.48 1.11/99.88
32.44/75.20 24.89/84.26 23.54/84.22 8.83/96.93 6.18/98.40
49.29/57.28 45.08/62.28 33.33/73.88 17.25/88.31 18.64/88.77
37.30/67.10 37.33/67.35 32.81/72.58 28.32/76.50 28.23/77.17
12.86/93.14 16.67/89.89 20.87/85.65 19.37/89.95 5.63/98.73
26.73/81.28 28.53/78.59 29.42/78.07 20.57/87.30 14.86/91.68
12.38/95.73 24.80/84.47 16.58/92.00 25.67/81.37 9.15/95.12
69.34/74.22 82.69/63.22 80.47/71.69 80.73/73.60 5.52/98.48
14.74/92.51 9.13/96.24 9.03/96.56 11.01/95.40 4.02/98.34
26.72/80.70 22.60/84.59 17.26/90.37 25.95/80.78 10.89/95.02
29.88/77.14 34.72/73.10 34.39/75.13 19.36/88.73 20.07/89.17
"""
MISPRINTED = {"69.34/74.22", "82.69/63.22", "80.47/71.69", "80.73/73.60"}
"""ViTAF, ViT-B, ViT-L and FLIP on Rose-Youtu."""


@pytest.mark.parametrize("bounds", [auc_bounds, auc_bounds_at_eer])
def test_four_printed_pairs_cannot_be_and_all_others_can(bounds) -> None:
    rounding = 1e-4
    impossible = set()
    for pair in (TABLE_1 + TABLE_2).split():
        hter, auc = (float(one) / 100 for one in pair.split("/"))
        low, high = bounds(hter)
        if not low - rounding <= auc <= high + rounding:
            impossible.add(pair)
    assert impossible == MISPRINTED


LONG = '[{"seed": ' + "9" * 5_000 + "}]"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 900 + "]" * 900, LONG, '["\\ud800"]'],
    ids=["deep", "deep and whole", "a long number", "half a sign"],
)  # fmt: skip
def test_what_no_evaluation_writes_is_a_value_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(ValueError, match=r"results\.json: "):
        load(tmp_path / "results.json")
