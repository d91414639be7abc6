import json

import pytest

from scf_pipeline.captioners._instructions import (
    Decoding,
    Instructions,
    read_instructions,
    write_instructions,
)
from scf_pipeline.errors import ConfigError


def test_a_folder_without_the_file_gets_the_defaults_of_published_checkpoints(tmp_path):
    found = read_instructions(tmp_path)
    assert found.prompt == "a photo of"
    assert (found.decoding.num_beams, found.decoding.temperature) == (5, None)
    assert (found.decoding.min_new_tokens, found.decoding.max_new_tokens) == (8, 30)


def test_what_is_written_is_read_back(tmp_path):
    wanted = Instructions(
        prompt="a picture of", decoding=Decoding(num_beams=1, temperature=0.7, top_p=0.95)
    )
    write_instructions(tmp_path, wanted)
    assert read_instructions(tmp_path) == wanted


def test_a_file_may_leave_things_out(tmp_path):
    (tmp_path / "captioner.json").write_text(json.dumps({"decoding": {"num_beams": 2}}))
    found = read_instructions(tmp_path)
    assert (found.prompt, found.decoding) == ("a photo of", Decoding(num_beams=2))


def test_an_unknown_setting_is_refused_by_name(tmp_path):
    (tmp_path / "captioner.json").write_text(json.dumps({"decoding": {"beams": 2}}))
    with pytest.raises(ConfigError, match="beams"):
        read_instructions(tmp_path)


def test_sampling_with_beams_is_refused():
    with pytest.raises(ValueError, match="`num_beams` must be 1 where sampling, but is 5"):
        Decoding(temperature=0.7)
