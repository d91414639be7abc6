import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scf_pipeline.errors import StageError
from scf_pipeline.media.frames import (
    FramePreset,
    MediaError,
    check_size,
    unreadable_if_it_fails,
)
from scf_pipeline.schema import Reject


@pytest.mark.parametrize(
    ("count", "expected"),
    [(1, [0]), (2, [1]), (6, [5]), (7, [6]), (8, [6, 7]), (14, [6, 13]), (300, [6, 156])],
)
def test_flip2_takes_frame_6_and_one_half_a_clip_later_clamped_to_the_last(
    count: int, expected: list[int]
) -> None:
    assert list(FramePreset.FLIP2.positions(count)) == expected


@pytest.mark.parametrize(("count", "expected"), [(1, [0]), (5, [0]), (6, [0, 5]), (11, [0, 5, 10])])
def test_every5_starts_at_the_first_frame(count: int, expected: list[int]) -> None:
    assert list(FramePreset.EVERY5.positions(count)) == expected


def test_all_and_first_are_what_they_say() -> None:
    assert list(FramePreset.ALL.positions(3)) == [0, 1, 2]
    assert list(FramePreset.FIRST.positions(3)) == [0]


@given(st.sampled_from(FramePreset), st.integers(1, 5000))
def test_positions_are_distinct_ascending_and_within_the_clip(
    preset: FramePreset, count: int
) -> None:
    positions = list(preset.positions(count))
    assert positions == sorted(set(positions))
    assert positions
    assert positions[0] >= 0
    assert positions[-1] < count


def test_a_clip_of_no_frames_has_no_positions() -> None:
    with pytest.raises(ValueError, match="`count` must be positive, but is 0"):
        FramePreset.FLIP2.positions(0)


def test_size_is_judged_at_the_limit() -> None:
    check_size(10, 10, 100)
    with pytest.raises(MediaError, match="must have 1 to 100 pixels, but is 101 x 1"):
        check_size(101, 1, 100)
    with pytest.raises(MediaError, match="0 x 5"):
        check_size(0, 5, 100)


def test_a_media_error_survives_the_trip_between_processes() -> None:
    error = pickle.loads(pickle.dumps(MediaError(Reject.NO_FRAME, "none")))
    assert (error.reject, error.detail, str(error)) == (Reject.NO_FRAME, "none", "no_frame: none")


@pytest.mark.parametrize("kind", [KeyError, OSError, MemoryError, RuntimeWarning])
def test_a_decoders_failure_becomes_unreadable_and_keeps_its_cause(kind: type[Exception]) -> None:
    with pytest.raises(MediaError) as caught, unreadable_if_it_fails():
        raise kind("chunk")
    assert caught.value.reject is Reject.UNREADABLE
    assert kind.__name__ in caught.value.detail
    assert isinstance(caught.value.__cause__, kind)


def test_a_missing_library_and_a_failing_machine_are_not_blamed_on_the_file() -> None:
    with pytest.raises(ImportError), unreadable_if_it_fails():
        raise ImportError("no such library")
    with pytest.raises(StageError), unreadable_if_it_fails():
        raise StageError("no process", where="here", fix="Wait.")
