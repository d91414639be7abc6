"""Coverings: each names an instrument and shows less where cues are faint."""

import pytest

from scf_pipeline.miniature.coverings import COVERINGS


@pytest.mark.parametrize("name", COVERINGS)
def test_faint_coverings_hide_less(name):
    covering = COVERINGS[name]
    for plain, faint in zip(covering.opacity, covering.faint_opacity, strict=True):
        assert 0 < faint <= plain <= 1


def test_what_is_made_of_paper_says_so():
    paper = {name for name, covering in COVERINGS.items() if covering.is_paper}
    assert paper == {"paper_mask", "paper_mask_cut", "paper_glasses", "eye_cut", "mouth_cut"}
