import numpy as np
import pytest
from PIL import ImageFile

from scf_pipeline.captioners._pictures import decode_png, encode_png
from scf_pipeline.errors import ArtifactError


def test_a_png_brings_back_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(pixels), name="a"), pixels)


@pytest.mark.parametrize("keep", [0, 20, 200])
def test_a_picture_that_ends_early_is_named(keep):
    png = encode_png(np.random.default_rng(0).integers(0, 256, (9, 17, 3), dtype=np.uint8))
    with pytest.raises(ArtifactError, match="must be a sound PNG, but is not") as caught:
        decode_png(png[:keep], name="siw/1#0")
    assert caught.value.where == "siw/1#0"


def test_a_sound_picture_for_which_memory_fails_is_not_called_damaged(monkeypatch):
    def fail(_: ImageFile.ImageFile) -> None:
        raise ImageFile._get_oserror(-9, encoder=False)  # Pillow's code for it, in Pillow's words

    png = encode_png(np.zeros((9, 17, 3), dtype=np.uint8))
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MemoryError, match="out of memory"):
        decode_png(png, name="a")
