"""Small media, drawn and encoded on the spot."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48


def draw(number: int) -> np.ndarray:
    """Return a frame of four colours whose upper left corner tells its number."""
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:24, :32], frame[:24, 32:] = (255, 0, 0), (0, 255, 0)
    frame[24:, :32], frame[24:, 32:] = (0, 0, 255), (255, 255, 255)
    frame[:16, :16] = 8 * number
    return frame


@pytest.fixture
def write_video(tmp_path: Path) -> Callable[..., Path]:
    def write(
        name: str,
        frames: int | Sequence[np.ndarray] = 30,
        *,
        codec: str = "libx264",
        container: str | None = None,
        key_every: int = 12,
        between: int = 0,
    ) -> Path:
        import av

        pictures = [draw(n) for n in range(frames)] if isinstance(frames, int) else frames
        path = tmp_path / name
        with av.open(str(path), "w", format=container) as target:
            stream = target.add_stream(codec, rate=25)
            stream.height, stream.width = pictures[0].shape[:2] if pictures else (HEIGHT, WIDTH)
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.codec_context.gop_size = key_every
            stream.codec_context.max_b_frames = between
            for picture in pictures:
                target.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            target.mux(stream.encode())
        return path

    return write
