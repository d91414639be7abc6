from ifas_model.vocabulary import Label, PaiSpecies, Split


def test_attack_is_the_first_label() -> None:
    """The order is that of the shards' codes; another order would turn every label round."""
    assert list(Label) == ["attack", "bona_fide"]


def test_splits_are_those_that_datasets_will_name() -> None:
    assert list(Split) == ["train", "dev", "test"]


def test_species_begin_with_the_four_of_algorithm_1() -> None:
    assert list(PaiSpecies)[:4] == ["print", "replay", "mask", "mannequin"]
    assert set(PaiSpecies) == {*list(PaiSpecies)[:4], "makeup", "partial"}


def test_words_print_as_themselves() -> None:
    """They go into tables, file names and sentences as they are."""
    for kind in (Label, PaiSpecies, Split):
        assert [f"{word}" for word in kind] == [word.value for word in kind]
