"""Sequences whose frames lie apart: HDF5 files of WMCA, folders of numbered pictures (HiFiMask)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scf_pipeline.media.frames import (
    FramePreset,
    MediaError,
    Picture,
    Pixels,
    check_size,
    unreadable_if_it_fails,
)
from scf_pipeline.schema import Reject

if TYPE_CHECKING:
    import h5py


LARGEST_NUMBER = 2**31 - 1
"""Largest number of a frame that tables hold; files and groups of a larger one are passed over."""


def read_numbered(
    files: dict[int, Path], load: Callable[[Path], Pixels], preset: FramePreset
) -> Iterator[Picture]:
    """Yield frames of a folder whose files bear their number.

    Args:
        files: File of each frame number.
        load: Reads one file.
        preset: Which frames.

    Raises:
        MediaError: If no file can be read.
    """
    return _pick(sorted(files), lambda number: load(files[number]), preset)


def numbered(folder: Path, suffixes: set[str]) -> dict[int, Path]:
    """Return the files of a folder that end in a number, by that number.

    Hidden files and other suffixes are passed over; of two files with one number the first by
    name counts.
    """
    found: dict[int, Path] = {}
    for file in sorted(folder.iterdir()):
        match = re.search(r"\d+$", file.stem)
        if match and file.suffix.lower() in suffixes and not file.name.startswith("."):
            found.setdefault(int(match[0]), file)
    return {number: file for number, file in found.items() if number <= LARGEST_NUMBER}


def read_hdf5(path: Path, preset: FramePreset, pixel_limit: int) -> Iterator[Picture]:
    """Yield frames of groups ``Frame_<i>``, each with ``array``, uint8, (3, H, W), in R-G-B order.

    Nothing but the file itself is opened: HDF5 can name other files in links, in virtual arrays and
    as an array's storage, and would show whatever of this machine a stranger's file asks for.

    Raises:
        MediaError: If no frame can be read.
        Exception: Whatever h5py raises on a damaged file.
    """
    import h5py

    with h5py.File(path, "r") as file:
        names = {int(name[6:]): name for name in file if re.fullmatch(r"Frame_\d{1,10}", name)}
        groups = {number: name for number, name in names.items() if number <= LARGEST_NUMBER}
        load = partial(_load_array, file, groups, pixel_limit)
        yield from _pick(sorted(groups), load, preset)  # as numbers: Frame_10 follows Frame_2


def _load_array(file: h5py.File, groups: dict[int, str], pixel_limit: int, number: int) -> Pixels:
    array = _own(_own(file, groups[number]), "array")
    if array.is_virtual or array.external:
        raise MediaError(Reject.UNREADABLE, "`array` must lie in its file, but names another.")
    if array.ndim != 3 or array.shape[0] != 3 or array.dtype != np.uint8:
        raise MediaError(
            Reject.UNREADABLE,
            f"`array` must be uint8 of shape (3, H, W), but is {array.dtype} {array.shape}.",
        )
    check_size(array.shape[2], array.shape[1], pixel_limit)
    return np.ascontiguousarray(np.moveaxis(array[()], 0, 2))


def _own(group: h5py.Group, name: str) -> Any:  # noqa: ANN401 - a group or an array
    """Return a member of a group, unless it is a link that may lead elsewhere."""
    import h5py

    if not isinstance(group, h5py.Group) or not group.id.links.exists(name.encode()):
        raise MediaError(Reject.UNREADABLE, f"A group must hold {name!r}, but does not.")
    if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise MediaError(Reject.UNREADABLE, f"{name!r} must lie in its file, but is a link.")
    return group[name]


def _pick(
    numbers: list[int], load: Callable[[int], Pixels], preset: FramePreset
) -> Iterator[Picture]:
    """Yield the frames that load; where none does, choose anew among the frames left."""
    detail, found = "holds none", False
    while numbers and not found:
        broken = set()
        for number in [numbers[position] for position in preset.positions(len(numbers))]:
            try:
                with unreadable_if_it_fails():
                    picture = Picture(number, load(number))
            except MediaError as error:
                broken.add(number)
                detail = f"in frame {number}: {error.detail}"
            else:
                found = True
                yield picture
        numbers = [number for number in numbers if number not in broken]
    if not found:
        raise MediaError(
            Reject.NO_FRAME, f"A sequence must hold a frame that decodes, but {detail}"
        )
