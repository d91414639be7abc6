"""The contracts of `pyproject.toml` hold, and leave no module out."""

import subprocess
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
    "importlinter"
]["contracts"]


def modules(folder: str) -> set[str]:
    """Return the public and private modules and packages of a folder, by name."""
    found = [path for path in (REPOSITORY / folder).iterdir() if path.name != "__init__.py"]
    return {path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").is_file()}


def test_every_import_keeps_to_the_floors() -> None:
    command = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [command, "--no-cache"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_floors_of_both_packages_are_exhaustive() -> None:
    floors = {
        contract["containers"][0]: contract
        for contract in CONTRACTS
        if contract["type"] == "layers"
    }
    assert set(floors) == {"scf_pipeline", "ifas_model"}
    for package, contract in floors.items():
        assert contract["exhaustive"]
        named = {name.strip() for floor in contract["layers"] for name in floor.split("|")}
        assert named == modules(package)


def test_no_stage_is_left_out_of_the_contract_that_keeps_stages_apart() -> None:
    (contract,) = [one for one in CONTRACTS if one["type"] == "independence"]
    assert set(contract["modules"]) == {
        f"scf_pipeline.stages.{name}" for name in modules("scf_pipeline/stages")
    }


def test_the_trainer_is_forbidden_the_pipeline_and_ray() -> None:
    (contract,) = [one for one in CONTRACTS if one["type"] == "forbidden"]
    assert contract["source_modules"] == ["ifas_model"]
    assert {"scf_pipeline", "ray"} <= set(contract["forbidden_modules"])
