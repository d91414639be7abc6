"""What the process of LAVIS's environment says and understands, as far as no LAVIS is needed.

`test_blip2_lavis` runs it in LAVIS's environment, where that exists.
"""

import ast
import io
import json
import sys
from pathlib import Path

import pytest
import torch

from scf_pipeline.captioners import _lavis_child
from scf_pipeline.captioners._lavis_child import LENGTH, LONGEST_JSON, answer, receive, send


def frame(data) -> bytes:
    text = json.dumps(data).encode()
    return LENGTH.pack(len(text)) + text


class Echo:
    """Says of each picture the sum of its pixels, or fails."""

    def __init__(self, error=None):
        self.error = error

    def caption(self, pictures, _request):
        if self.error is not None:
            raise self.error
        assert pictures.dtype == torch.uint8
        return [{"text": str(int(picture.sum()))} for picture in pictures.int()]


def test_it_imports_nothing_at_first_that_every_python_does_not_have():
    tree = ast.parse(Path(_lavis_child.__file__).read_text(encoding="utf-8"))
    names = [
        alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    ]
    names += [str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert names
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names


def test_it_imports_nothing_of_ours_anywhere():
    tree = ast.parse(Path(_lavis_child.__file__).read_text(encoding="utf-8"))
    found = [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert [name for name in found if name.startswith(("scf_pipeline", "ifas_model"))] == []


def test_what_is_sent_is_received():
    stream = io.BytesIO()
    send(stream, {"text": "ein Gesicht, 顔"})
    send(stream, {})
    stream.seek(0)
    assert receive(stream) == {"text": "ein Gesicht, 顔"}
    assert receive(stream) == {}
    assert receive(stream) is None


def test_the_end_of_the_requests_is_no_error_but_an_end_within_one_is():
    assert receive(io.BytesIO()) is None
    with pytest.raises(EOFError):
        receive(io.BytesIO(frame({"shape": [1]})[:-1]))


def test_a_request_too_long_is_refused_before_it_is_read():
    with pytest.raises(ValueError, match=f"at most {LONGEST_JSON} bytes"):
        receive(io.BytesIO(LENGTH.pack(LONGEST_JSON + 1)))


def test_pictures_are_as_many_bytes_as_their_shape_says():
    pictures = bytes(range(24))
    request = {"shape": [2, 3, 2, 2]}
    stream = io.BytesIO(pictures + frame({"next": 1}))
    assert answer(Echo(), request, stream) == {
        "captions": [{"text": str(sum(range(12)))}, {"text": str(sum(range(12, 24)))}]
    }
    assert receive(stream) == {"next": 1}
    with pytest.raises(EOFError):
        answer(Echo(), request, io.BytesIO(pictures[:-1]))


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 2 GiB"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ],
    ids=["numpy", "gpu", "cpu"],
)
def test_a_lack_of_memory_is_an_answer(error):
    found = answer(Echo(error), {"shape": [1, 3, 1, 1]}, io.BytesIO(bytes(3)))
    assert list(found) == ["memory"]
    assert "allocate" in found["memory"]
    assert "\n" not in found["memory"]


def test_another_error_is_none():
    with pytest.raises(RuntimeError, match="shapes"):
        answer(Echo(RuntimeError("shapes")), {"shape": [1, 3, 1, 1]}, io.BytesIO(bytes(3)))


def test_the_mean_of_nothing_is_zero():
    assert _lavis_child.mean([]) == 0
    assert _lavis_child.mean([-1.0, -2.0]) == -1.5
