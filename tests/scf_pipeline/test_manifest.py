"""What a manifest must hold; how a reader refuses a damaged one, `test_store` tells."""

import json
from typing import Any

import pytest

from scf_pipeline.counts import Counts, Tally
from scf_pipeline.manifest import SEAL, check, to_json, with_seal
from scf_pipeline.settings import DAMAGE, Settings


def manifest(**changes: Any) -> dict[str, Any]:
    counts = Counts({"siw": Tally(live=2)}).to_dict()
    files = {"data/part-00000.parquet": {"sha256": "0" * 64, "bytes": 7}}
    settings = Settings("crop", 1, {"size": 64}, {"samples": "ingest@0"}).to_dict()
    return settings | {"counts": counts, "files": files, "seconds": 1.5} | changes


def test_a_sealed_manifest_passes_and_is_what_its_file_gives_back() -> None:
    sealed = with_seal(manifest(notes={"sizes": (1, 2)}))
    assert json.loads(to_json(sealed)) == sealed
    assert check(sealed) is None


def test_a_manifest_of_a_version_without_seals_passes() -> None:
    assert check(manifest()) is None


@pytest.mark.parametrize("changes", [{"commit": "other"}, {"notes": {"a": 1}}, {SEAL: "0" * 64}])
def test_what_was_changed_after_the_seal_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the seal is that of another"):
        check(with_seal(manifest()) | changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"counts": {}},
        {"inputs": {"samples": 7}},
        {"seconds": "long"},
        {"files": {"../part": {"sha256": "0", "bytes": 7}}},
        {"files": {"memory://part": {"sha256": "0", "bytes": 7}}},
        {"files": {"data/part-x.parquet": {"sha256": "0", "bytes": 7}}},
        {"files": {"a": {"sha256": 0, "bytes": 7}}},
    ],
)
def test_a_seal_does_not_bless_what_no_stage_writes(changes: dict[str, Any]) -> None:
    with pytest.raises(DAMAGE):
        check(with_seal(manifest(**changes)))
