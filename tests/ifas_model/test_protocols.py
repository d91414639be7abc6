from dataclasses import replace

import pytest

from flows.settings import DATASETS
from ifas_model.config import OwnDatasets, TrainConfig
from ifas_model.protocols import (
    ELEVEN,
    LETTERS,
    PROTOCOLS,
    Protocol,
    parts_of,
    protocol,
    protocol_of,
)
from ifas_model.vocabulary import Split

LEAVING_ONE_OUT = ("protocol1", "protocol1_with_celeba")
EVERY = [(name, target) for name in LEAVING_ONE_OUT for target in LETTERS.values()]
EVERY += [("protocol2", None)]


def test_every_protocol_is_tried_below() -> None:
    assert {name for name, _ in EVERY} == set(PROTOCOLS)


@pytest.mark.parametrize(("name", "target"), EVERY)
def test_sources_and_targets_are_disjoint_and_known(name: str, target: str | None) -> None:
    one = protocol(name, target)
    assert one.name == name
    assert one.sources.keys().isdisjoint(one.targets)
    assert one.sources.keys() | one.targets.keys() <= set(DATASETS)


@pytest.mark.parametrize(("name", "target"), EVERY)
def test_dev_is_never_empty_and_never_taught(name: str, target: str | None) -> None:
    one = protocol(name, target)
    assert one.dev
    for dataset, splits in one.dev.items():
        assert set(splits).isdisjoint(one.sources[dataset])


@pytest.mark.parametrize(
    ("target", "title", "dev"),
    [
        ("msu_mfsd", "O&C&I to M", {"oulu_npu", "replay_attack"}),
        ("casia_mfsd", "O&M&I to C", {"oulu_npu", "replay_attack"}),
        ("replay_attack", "O&C&M to I", {"oulu_npu"}),
        ("oulu_npu", "I&C&M to O", {"replay_attack"}),
    ],
)
def test_protocol_1_leaves_one_out_as_the_paper_names_it(target, title, dev) -> None:
    one = protocol("protocol1", target)
    assert one.title == title
    assert one.sources.keys() == set(LETTERS.values()) - {target}
    assert set(one.sources.values()) == {(Split.TRAIN, Split.TEST)}
    assert one.targets == {target: (Split.TRAIN, Split.TEST)}
    assert one.dev == dict.fromkeys(dev, (Split.DEV,))


def test_celeba_spoof_joins_the_sources_and_changes_nothing_else() -> None:
    plain, joined = (protocol(name, "msu_mfsd") for name in ("protocol1", "protocol1_with_celeba"))
    assert joined.title == "O&C&I&CelebA-Spoof to M"
    assert dict(joined.sources) == {**plain.sources, "celeba_spoof": (Split.TRAIN,)}
    assert (joined.dev, joined.targets) == (plain.dev, plain.targets)


def test_protocol_2_goes_from_one_dataset_to_the_other_eleven() -> None:
    one = protocol("protocol2")
    assert one.sources == {"celeba_spoof": (Split.TRAIN,)}
    assert one.dev == {"celeba_spoof": (Split.TEST,)}
    assert len(one.targets) == 11
    assert one.targets.keys() | one.sources.keys() == set(DATASETS)


def test_protocol_2_judges_a_test_part_where_others_report_on_it() -> None:
    whole = {"casia_surf_3dmask", "hkbu_mars_v1_plus", "siw_m_v2"}
    for dataset, splits in ELEVEN.items():
        if dataset in LETTERS.values():
            assert splits == (Split.TRAIN, Split.TEST)
        else:
            assert splits == (tuple(Split) if dataset in whole else (Split.TEST,))


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("protocol3", None, r"must be one of protocol1, .*, but is 'protocol3'\."),
        ("protocol1", None, r"`target` must be one of msu_mfsd, .*, but is None\."),
        ("protocol1", "wmca", r"`target` must be one of msu_mfsd, .*, but is 'wmca'\."),
        ("protocol1_with_celeba", "celeba_spoof", "but is 'celeba_spoof'"),
        ("protocol2", "wmca", r"`target` must be None, .*, but is 'wmca'\."),
    ],
)
def test_a_wrong_name_or_target_is_printed(name: str, target: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        protocol(name, target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": {"siw": (Split.TEST,)}}, "must be no sources, but siw is both"),
        ({"dev": {"wmca": (Split.DEV,)}}, "must be parts of sources, but wmca is none"),
        ({"dev": {"siw": (Split.TRAIN,)}}, "must teach nothing, but siw train does"),
        ({"dev": {}}, "`dev` must name splits of datasets, but is empty"),
        ({"targets": {"wmca": ()}}, "`targets` must name splits of datasets, but wmca has none"),
    ],
)
def test_a_protocol_cannot_contradict_itself(change: dict, message: str) -> None:
    fields = {
        "name": "mine",
        "title": "SIW to WMCA",
        "sources": {"siw": (Split.TRAIN,)},
        "dev": {"siw": (Split.TEST,)},
        "targets": {"wmca": (Split.TEST,)},
    }
    assert Protocol(**fields).targets == {"wmca": (Split.TEST,)}
    with pytest.raises(ValueError, match=message):
        Protocol(**{**fields, **change})


# One's own datasets


OWN = OwnDatasets(
    train={"mine": (Split.TRAIN,), "ours": tuple(Split)},
    dev={"mine": (Split.DEV,)},
    test={"mine": (Split.TEST,), "theirs": (Split.TRAIN, Split.TEST)},
)


@pytest.mark.parametrize(("name", "target"), EVERY)
def test_settings_name_a_protocol(name: str, target: str | None) -> None:
    assert protocol_of(TrainConfig(protocol=name, target=target)) == protocol(name, target)


def test_settings_tell_a_protocol_of_ones_own_datasets() -> None:
    one = protocol_of(TrainConfig(protocol="custom", own=OWN))
    assert (one.name, one.title) == ("custom", "mine&ours to mine&theirs")
    assert (one.sources, one.dev, one.targets) == (OWN.train, OWN.dev, OWN.test)


def test_ones_own_datasets_have_no_target_beside_them() -> None:
    config = TrainConfig(protocol="custom", own=OWN)
    with pytest.raises(ValueError, match=r"`target` must be None, .*, but is 'mine'\."):
        protocol_of(replace(config, target="mine"))


def test_settings_of_no_protocol_are_refused_with_all_names() -> None:
    with pytest.raises(ValueError, match=r"protocol2, custom, but is 'protocol3'\."):
        protocol_of(TrainConfig(protocol="protocol3"))


@pytest.mark.parametrize(
    ("select", "more"), [("last", []), ("best_on_dev", [OWN.dev]), ("best_on_test", [OWN.test])]
)
def test_a_training_looks_at_what_teaches_and_at_what_its_weights_are_chosen_by(select, more):
    config = TrainConfig(protocol="custom", own=OWN, select=select)
    assert parts_of(config) == [OWN.train, *more]
