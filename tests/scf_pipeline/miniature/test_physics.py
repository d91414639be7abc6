"""Physics: paper and displays leave the traces that they are said to leave."""

import numpy as np
import pytest

from scf_pipeline.miniature import physics
from scf_pipeline.miniature.strokes import placing

UNIT = 40.0
SHAPE = (128, 128)


@pytest.fixture
def coordinates():
    return physics.grid(SHAPE, placing((64, 64), UNIT))


def flat(level):
    return np.full((*SHAPE, 3), level, np.float32)


def spectrum(picture):
    """Return strength by period in pixels of the crop; here one pixel is one of the crop's."""
    grey = picture.mean(axis=2) - picture.mean()
    power = abs(np.fft.fft2(grey * np.outer(np.hanning(128), np.hanning(128))))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(128), np.fft.fftfreq(128)))
    return frequency, power


def strongest_period(picture):
    frequency, power = spectrum(picture)
    power[frequency < 1 / 60] = 0
    return 1 / frequency.flat[power.argmax()]


def test_the_grid_counts_face_heights_from_the_face(coordinates):
    x, y = coordinates
    assert x[0, 64] == pytest.approx(0, abs=1e-6)
    assert x[0, 104] == pytest.approx(1, abs=1e-6)
    assert y[24, 0] == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_dots_of_a_print_repeat_every_three_to_five_pixels(coordinates, seed):
    printed = physics.print_out(flat(128), *coordinates, 1.0, np.random.default_rng(seed))
    assert 2.6 < strongest_period(printed) < 9.5
    assert printed.std() > 2


@pytest.mark.parametrize("seed", range(6))
def test_ink_reaches_neither_black_nor_white(coordinates, seed):
    picture = flat(0)
    picture[:64] = 255
    printed = physics.print_out(picture, *coordinates, 1.0, np.random.default_rng(seed))
    assert printed.min() > 15
    assert printed.max() < 255


@pytest.mark.parametrize("seed", range(6))
def test_a_display_never_shows_black_and_leans_to_blue(coordinates, seed):
    shown = physics.display(flat(20), *coordinates, 1.0, np.random.default_rng(seed))
    assert shown.mean() > 24
    assert shown[..., 2].mean() > shown[..., 0].mean() - 1


def test_fringes_of_a_display_are_wider_than_dots_and_coloured(coordinates):
    periods = []
    for seed in range(6):
        shown = physics.display(flat(128), *coordinates, 1.0, np.random.default_rng(seed))
        periods.append(strongest_period(shown))
        assert (shown[..., 0] - shown[..., 2]).std() > 3
    assert min(periods) > 5


def test_a_stronger_medium_shows_more(coordinates):
    for medium in (physics.print_out, physics.display):
        faint, plain = (
            medium(flat(128), *coordinates, strength, np.random.default_rng(3)).std()
            for strength in (0.5, 1.2)
        )
        assert plain > 1.5 * faint


def test_curl_shades_in_bands_across(coordinates):
    lit = physics.curl(flat(128), coordinates[0], 1.0, np.random.default_rng(0))
    assert lit.std(axis=1).mean() > 3
    assert lit.std(axis=0).max() < 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_glare_only_brightens_and_only_what_is_glossy(coordinates, seed):
    where = np.zeros(SHAPE, np.float32)
    where[:, :64] = 1
    lit = physics.glare(flat(100), *coordinates, where, np.random.default_rng(seed))
    assert lit.min() >= 100 - 1e-3
    assert (lit[:, 64:] == 100).all()


def test_warm_light_is_yellower_than_cool_light():
    warm, cool = physics.light_colour(1.0), physics.light_colour(-1.0)
    assert warm[0] > cool[0]
    assert warm[2] < cool[2]


def test_shade_keeps_the_mean_brightness():
    lit = physics.shade(flat(100), np.random.default_rng(0))
    assert lit.mean() == pytest.approx(100, abs=0.5)
    assert lit.std() > 1


@pytest.mark.parametrize("shape", [(64, 64), (300, 500)])
def test_grain_has_unit_variance_at_any_size(shape):
    noise = physics.grain(shape, np.random.default_rng(0))
    assert noise.shape == (*shape, 3)
    assert noise.std() == pytest.approx(1, abs=0.03)
    assert (noise != physics.grain(shape, np.random.default_rng(1))).any()


def test_paper_has_a_fibre():
    fibre = physics.texture(SHAPE, UNIT, np.random.default_rng(0))
    assert fibre.mean() == pytest.approx(1, abs=0.01)
    assert 0.01 < fibre.std() < 0.05
