import colorsys
import math

import pytest
import torch

from ifas_model import augment


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def pictures():
    return torch.rand(6, 3, 16, 16, dtype=torch.float64)


def by_pixel(pictures, change):
    """Apply a function of (index, red, green, blue) to every pixel, in Python."""
    found = torch.empty_like(pictures)
    for index, picture in enumerate(pictures):
        for row in range(picture.shape[1]):
            for column in range(picture.shape[2]):
                colour = change(index, *picture[:, row, column].tolist())
                found[index, :, row, column] = torch.tensor(colour, dtype=pictures.dtype)
    return found


def test_saturation_is_scaled_as_in_hsv(pictures):
    factors = torch.tensor([0.0, 0.5, 0.8, 1.0, 1.2, 3.0], dtype=torch.float64)

    def scale(index, *colour):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        return colorsys.hsv_to_rgb(hue, min(1.0, saturation * factors[index].item()), value)

    found = augment.scale_saturation(pictures, factors)
    assert torch.allclose(found, by_pixel(pictures, scale), atol=1e-9)


def test_black_and_grey_have_no_saturation_to_scale():
    flat = torch.tensor([0.0, 0.4])[:, None, None, None].expand(2, 3, 4, 4)
    assert torch.allclose(augment.scale_saturation(flat, torch.tensor([2.0, 2.0])), flat)


def test_about_half_of_the_pictures_change_their_saturation_within_the_strength():
    pictures = torch.tensor([0.9, 0.5, 0.5])[:, None, None].expand(2000, 3, 1, 1)
    found = augment.jitter_saturation(pictures, 0.2)
    factors = ((found[:, 0] - found[:, 1]) / 0.4).flatten()
    changed = factors[(factors - 1).abs() > 1e-5]
    assert 0.45 < len(changed) / 2000 < 0.55
    assert changed.min() >= 0.8 - 1e-5
    assert changed.max() <= 1.2 + 1e-5
    assert changed.max() - changed.min() > 0.38


def test_no_strength_draws_nothing(pictures):
    before = torch.get_rng_state()
    assert augment.jitter_saturation(pictures, 0) is pictures
    assert torch.equal(torch.get_rng_state(), before)


def test_hue_is_turned_as_in_hsv(pictures):
    turns = torch.tensor([0.0, 0.1, -0.1, 0.5, 1.0, -0.03], dtype=torch.float64)

    def turn(index, *colour):
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        return colorsys.hsv_to_rgb((hue + turns[index].item()) % 1, saturation, value)

    found = augment.turn_hue(pictures, turns)
    assert torch.allclose(found, by_pixel(pictures, turn), atol=1e-9)


def test_grey_weighs_the_colours():
    picture = torch.tensor([1.0, 0.0, 0.5])[None, :, None, None]
    assert augment.to_grey(picture).item() == pytest.approx(0.299 + 0.5 * 0.114)


def test_the_whole_box_is_the_picture_itself(pictures):
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]], dtype=torch.float64).expand(6, 4)
    assert torch.allclose(augment.crop(pictures, boxes), pictures, atol=1e-12)


def test_a_box_of_a_quarter_shows_that_quarter():
    picture = torch.zeros(1, 3, 16, 16)
    picture[:, :, 8:, :8] = 1  # below, left
    box = torch.tensor([[0.0, 0.5, 0.5, 0.5]])
    assert augment.crop(picture, box)[:, :, 1:, :-1].min() == 1
    assert augment.crop(picture, torch.tensor([[0.5, 0.0, 0.5, 0.5]]))[:, :, :-1, 1:].max() == 0


def test_boxes_lie_inside_with_area_and_shape_in_range():
    left, top, width, height = augment.draw_boxes(2000).unbind(1)
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + 1e-6
    area, aspect = width * height, width / height
    assert area.min() >= augment.AREA[0] - 1e-6
    assert area.min() < 0.1
    assert area.max() > 0.95
    assert aspect.min() >= 0.75 - 1e-5
    assert aspect.max() <= 4 / 3 + 1e-5


def test_where_no_box_fits_the_whole_picture_is_taken(monkeypatch):
    monkeypatch.setattr(augment, "AREA", (2.0, 3.0))
    assert torch.equal(augment.draw_boxes(3), torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(3, 4))


def test_a_blur_spreads_a_point_as_its_gaussian():
    picture = torch.zeros(2, 3, 17, 17, dtype=torch.float64)
    picture[:, :, 8, 8] = 1
    found = augment.blur(picture, torch.tensor([1.0, 0.1], dtype=torch.float64))
    weights = [math.exp(-(offset**2) / 2) for offset in range(-6, 7)]
    for down in (-2, 0, 1):
        for right in (-1, 0, 3):
            expected = weights[6 + down] * weights[6 + right] / sum(weights) ** 2
            assert found[0, 1, 8 + down, 8 + right].item() == pytest.approx(expected, abs=1e-12)
    assert found[1, 0, 8, 8].item() == pytest.approx(1)


def test_a_blur_leaves_flat_pictures_flat():
    flat = torch.full((2, 3, 16, 16), 0.3)
    assert torch.allclose(augment.blur(flat, torch.tensor([0.5, 2.0])), flat, atol=1e-6)


def test_colours_stay_in_range_and_differ_by_picture(pictures):
    found = augment.jitter_colour(pictures[:1].expand(4, 3, 16, 16))
    assert found.min() >= -1e-9
    assert found.max() <= 1 + 1e-9
    assert not torch.allclose(found[0], found[1])


def test_a_view_keeps_shape_and_range_and_is_repeated_by_the_seed(pictures):
    views = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        views.append(augment.draw_view(pictures))
    assert views[0].shape == pictures.shape
    assert views[0].dtype == pictures.dtype
    assert views[0].min() >= -1e-6
    assert views[0].max() <= 1 + 1e-6
    assert torch.equal(views[0], views[1])
    assert not torch.allclose(views[0], views[2])


def test_about_a_fifth_of_the_views_is_grey():
    pictures = torch.rand(400, 3, 8, 8)
    views = augment.draw_view(pictures)
    spread = (views.amax(1) - views.amin(1)).amax((1, 2))
    assert 0.13 < (spread < 1e-5).float().mean() < 0.27
