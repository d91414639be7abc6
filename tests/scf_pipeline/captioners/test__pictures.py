import numpy as np

from scf_pipeline.captioners._pictures import decode_png, encode_png


def test_a_png_brings_back_every_pixel():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(decode_png(encode_png(pixels)), pixels)
