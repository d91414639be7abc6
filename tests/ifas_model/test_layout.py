"""What a checkpoint folder must be before a library reads it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from ifas_model.layout import ADAPTER, INDEX, SETTINGS_FILES, check_folder, model_type


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path: Any = tmp_path
    if request.param == "memory":
        path = UPath(f"memory://layout{tmp_path}")
        path.mkdir(parents=True)
    for name in SETTINGS_FILES:
        write(path / name, {"model_type": "blip-2", "auto_map": None})
    (path / "model-00001-of-00001.safetensors").write_bytes(b"weights")
    return path


def write(file: Any, data: object) -> None:
    file.write_bytes(json.dumps(data).encode())


def index(*names: object) -> dict[str, object]:
    return {"metadata": {}, "weight_map": {f"w{n}": name for n, name in enumerate(names)}}


def test_plain_data_of_one_folder_passes(folder: Any) -> None:
    check_folder(folder)
    write(folder / INDEX, index("model-00001-of-00001.safetensors"))
    check_folder(folder)


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"model_type": 7}'])
def test_a_kind_is_told_where_one_is_named(folder: Any, content: bytes | None) -> None:
    assert model_type(folder) == "blip-2"
    file = folder / "config.json"
    file.unlink() if content is None else file.write_bytes(content)
    assert model_type(folder) is None


def test_an_adapter_of_another_model_is_refused(folder: Any) -> None:
    write(folder / ADAPTER, {"base_model_name_or_path": "elsewhere"})
    with pytest.raises(ValueError, match="adapters must be merged into its weights"):
        check_folder(folder)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (index("../x.safetensors"), "must keep to the folder, but names '../x.safetensors'"),
        (index("/x.safetensors"), "must keep to the folder"),
        (index("..\\x.safetensors"), "must keep to the folder"),
        (index("sub/x.safetensors"), "must keep to the folder"),
        (index("x.safetensors"), "must name files that are there, but names 'x.safetensors'"),
        (index("x.bin"), "must name files of safetensors, but names 'x.bin'"),
        (index(7), "must name files of safetensors, but names 7"),
        (index(["x"]), "is damaged"),
        ({}, "is damaged"),
        ([], "must hold a mapping"),
        ({"weight_map": 7}, "is damaged"),
    ],
)
def test_an_index_names_files_of_the_folder_alone(
    folder: Any, content: object, problem: str
) -> None:
    write(folder / INDEX, content)
    with pytest.raises(ValueError, match=re.escape(INDEX)) as caught:
        check_folder(folder)
    assert problem in str(caught.value)
