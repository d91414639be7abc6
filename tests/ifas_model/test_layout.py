"""What a checkpoint folder must be before a library reads it."""

import json
from pathlib import Path
from typing import Any

import pytest
from upath import UPath

from ifas_model.layout import ADAPTER, CONFIGS, INDEX, flaw, model_type


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    path: Any = tmp_path
    if request.param == "memory":
        path = UPath(f"memory://layout{tmp_path}")
        path.mkdir(parents=True)
    for name in CONFIGS:
        write(path / name, {"model_type": "blip-2", "auto_map": {}})
    (path / "model-00001-of-00001.safetensors").write_bytes(b"weights")
    return path


def write(file: Any, data: object) -> None:
    file.write_bytes(json.dumps(data).encode())


def index(*names: object) -> dict[str, object]:
    return {"metadata": {}, "weight_map": {f"w{n}": name for n, name in enumerate(names)}}


def test_plain_data_of_one_folder_has_no_flaw(folder: Any) -> None:
    assert flaw(folder) is None
    write(folder / INDEX, index("model-00001-of-00001.safetensors"))
    assert flaw(folder) is None


def test_what_a_library_will_tell_of_is_left_to_it(folder: Any) -> None:
    (folder / "config.json").write_bytes(b"{")
    (folder / "tokenizer_config.json").unlink()
    assert flaw(folder) is None


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("depth", [0, 1, 2])
def test_a_folder_that_names_code_to_run_is_flawed(folder: Any, name: str, depth: int) -> None:
    data: object = {"auto_map": {"AutoModel": "mine.Mine"}}
    for _ in range(depth):
        data = {"text_config": [data]}
    write(folder / name, data)
    assert flaw(folder) == f"{name} names code to run (`auto_map`)"


@pytest.mark.parametrize("named", ["owner/kernel", {"text_config": "owner/kernel"}])
def test_a_folder_that_names_code_to_fetch_is_flawed(folder: Any, named: object) -> None:
    write(folder / "config.json", {"text_config": {"attn_implementation": named}})
    assert flaw(folder) == "config.json names code to run (`attn_implementation`)"
    write(folder / "config.json", {"text_config": {"attn_implementation": "sdpa"}})
    assert flaw(folder) is None


@pytest.mark.parametrize("content", [None, b"{", b"[]", b"{}", b'{"model_type": 7}'])
def test_a_kind_is_told_where_one_is_named(folder: Any, content: bytes | None) -> None:
    assert model_type(folder) == "blip-2"
    file = folder / "config.json"
    file.unlink() if content is None else file.write_bytes(content)
    assert model_type(folder) is None


def test_an_adapter_of_another_model_is_flawed(folder: Any) -> None:
    write(folder / ADAPTER, {"base_model_name_or_path": "elsewhere"})
    assert flaw(folder) == "adapter_config.json makes it an adapter of another model"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (index("../x.safetensors"), "names '../x.safetensors', which lies elsewhere"),
        (index("/x.safetensors"), "which lies elsewhere"),
        (index("..\\x.safetensors"), "which lies elsewhere"),
        (index("sub/x.safetensors"), "which lies elsewhere"),
        (index("x.safetensors"), "names 'x.safetensors', which is absent"),
        (index("x.bin"), "names 'x.bin', which is no file of safetensors"),
        (index(7), "names 7, which is no file of safetensors"),
        (index(["x"]), "is damaged"),
        ({}, "is damaged"),
        ([], "is damaged"),
        ({"weight_map": 7}, "is damaged"),
    ],
)
def test_an_index_names_files_of_the_folder_alone(
    folder: Any, content: object, problem: str
) -> None:
    write(folder / INDEX, content)
    assert flaw(folder).startswith(f"{INDEX} ")
    assert flaw(folder).endswith(problem)
