"""Frames of any sample, as upright RGB pictures; and faces in them."""

from scf_pipeline.media.frames import PIXEL_LIMIT, FramePreset, MediaError, Picture, Pixels
from scf_pipeline.media.reader import read_frames

__all__ = ["PIXEL_LIMIT", "FramePreset", "MediaError", "Picture", "Pixels", "read_frames"]
