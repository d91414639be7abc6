"""What the default dictionary finds in captions, one case a line; and that columns agree."""

import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upath import UPath

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.keywords.file import ConflictPolicy

FOLDER = Path(__file__).parents[2] / "keyword_dicts"
DEFAULT = KeywordDictionary.load(FOLDER / "spoof_aware.yaml")
LITERAL = KeywordDictionary.load(FOLDER / "paper_literal.yaml")

CASES = [
    # each species by its plain words
    ("a man on paper", "print", ["paper"]),
    ("a printed picture of a woman", "print", ["printed"]),
    ("a printout of a face", "print", ["printout"]),
    ("a poster of a man on a wall", "print", ["poster"]),
    ("a face on cardboard", "print", ["cardboard"]),
    ("a woman reading a newspaper", "print", ["newspaper"]),
    ("the cover of a magazine", "print", ["magazine"]),
    ("a brochure with a face", "print", ["brochure"]),
    ("a flyer with a face", "print", ["flyer"]),
    ("a picture of a man on a screen", "replay", ["on a screen"]),
    ("a man's face fills the screen", "replay", ["screen"]),
    ("a monitor with a face", "replay", ["monitor"]),
    ("a display showing a man", "replay", ["display"]),
    ("a tablet with a picture of a man", "replay", ["tablet"]),
    ("an ipad with a face", "replay", ["ipad"]),
    ("a laptop on a desk", "replay", ["laptop"]),
    ("a smartphone", "replay", ["smartphone"]),
    ("an iphone in a hand", "replay", ["iphone"]),
    ("a television in a room", "replay", ["television"]),
    ("a man watching tv", "replay", ["tv"]),
    ("a person in a mask", "mask", ["mask"]),
    ("a masked man", "mask", ["masked"]),
    ("a silicone face", "mask", ["silicone"]),
    ("a latex face", "mask", ["latex"]),
    ("a rubber face", "mask", ["rubber"]),
    ("a mannequin in a window", "mannequin", ["mannequin"]),
    ("a dummy", "mannequin", ["dummy"]),
    ("a doll with blue eyes", "mannequin", ["doll"]),
    ("a bust of a man", "mannequin", ["bust"]),
    ("a statue of a head", "mannequin", ["statue"]),
    ("a sculpture", "mannequin", ["sculpture"]),
    ("a figurine of a woman", "mannequin", ["figurine"]),
    ("a head made of wax", "mannequin", ["wax"]),
    # phrases
    ("a man with a piece of paper", "print", ["piece of paper"]),
    ("a sheet of paper", "print", ["sheet of paper"]),
    ("a man holding a photo of himself", "print", ["holding a photo"]),
    ("a man holding up a picture", "print", ["holding a picture"]),
    ("a hand holds a photograph", "print", ["holding a photograph"]),
    ("someone holding up the print", "print", ["holding a print"]),
    ("a man with a photo of a picture", "print", ["photo of a picture"]),
    ("a man holding a cell phone", "replay", ["cell phone"]),
    ("a mobile phone", "replay", ["mobile phone"]),
    ("a phone screen showing a man", "replay", ["phone screen"]),
    ("a computer monitor", "replay", ["computer monitor"]),
    ("a man in front of a computer", "replay", ["in front of a computer"]),
    ("a man on a tv", "replay", ["on a tv"]),
    ("a man wearing a mask", "mask", ["wearing a mask"]),
    ("a person with a mask on the face", "mask", ["with a mask"]),
    ("a paper mask", "mask", ["paper mask"]),
    ("a plastic face", "mask", ["plastic face"]),
    ("a mask with eyes cut out", "mask", ["mask", "cut out"]),
    ("a plastic head", "mannequin", ["plastic head"]),
    ("a mannequin head on a stand", "mannequin", ["mannequin head"]),
    ("a model head", "mannequin", ["model head"]),
    ("a wax figure", "mannequin", ["wax figure"]),
    # plural and tense
    ("papers on a desk", "print", ["paper"]),
    ("newspapers and magazines", "print", ["newspaper", "magazine"]),
    ("brochures", "print", ["brochure"]),
    ("two pieces of paper", "print", ["piece of paper"]),
    ("photos of photos", "print", []),  # no article: not the phrase
    ("photos of the pictures", "print", ["photo of a picture"]),
    ("a man who held a photo", "print", ["holding a photo"]),
    ("two televisions", "replay", ["television"]),
    ("tvs in a shop", "replay", ["tv"]),
    ("cell phones", "replay", ["cell phone"]),
    ("people wearing masks", "mask", ["mask"]),
    ("he wore a mask", "mask", ["wearing a mask"]),
    ("dummies in a shop", "mannequin", ["dummy"]),
    ("busts of emperors", "mannequin", ["bust"]),
    ("plastic heads", "mannequin", ["plastic head"]),
    ("a man printing a page", "print", []),
    ("a display that was screened", "print", []),
    # other spellings
    ("A MAN HOLDING A TABLET", "replay", ["tablet"]),
    ("a cell-phone", "replay", ["cell phone"]),
    ("a cellphone", "replay", ["cell phone"]),
    ("cellphones", "replay", ["cell phone"]),
    ("a smart phone", "replay", ["smartphone"]),
    ("smart-phones", "replay", ["smartphone"]),
    ("a print-out", "print", ["printout"]),
    ("a news paper", "print", ["newspaper"]),
    ("a cutout of a face", "mask", ["cut out"]),
    ("a cut-out face", "mask", ["cut out"]),
    ("fliers on a wall", "print", ["flyer"]),
    ("a manikin", "mannequin", ["mannequin"]),
    ("a mannequin's arm", "mannequin", ["mannequin"]),
    ("the paper\u2019s edge", "print", ["paper"]),
    ("a cell\u2011phone", "replay", ["cell phone"]),
    ("\uff50\uff41\uff50\uff45\uff52", "print", ["paper"]),  # full-width letters
    ("pa\u00adper", "print", ["paper"]),  # a soft hyphen
    ("a cell  phone", "replay", ["cell phone"]),
    ("a cell\nphone", "replay", ["cell phone"]),
    ("paper, screen.", "print", ["paper"]),
    ('a "mask"', "mask", ["mask"]),
    # words that only look like keywords
    ("a handsome man", "mannequin", []),
    ("a man wearing headphones", "replay", []),
    ("a man with a microphone", "replay", []),
    ("a woman putting on sunscreen", "replay", []),
    ("an unmasked man", "mask", []),
    ("a fingerprint on glass", "print", []),
    ("a man being photographed", "print", []),
    ("a blueprint of a house", "print", []),
    ("a knowledgeable teacher", "replay", []),
    ("a dollar bill", "mannequin", []),
    ("a wall with wallpaper", "print", []),
    ("a robust man in a bustling street", "mannequin", []),
    ("a waxed car and a tablecloth", "mannequin", []),
    ("a maskulin face by \u00e9paper", "mask", []),
    ("pape\u0301r", "print", []),  # a combining accent belongs to the letter
    ("papier m\u00e2ch\u00e9", "print", []),
    ("paper2 and mask_3", "print", []),
    ("a person on the phone", "replay", []),
    ("a phone, screen protector", "replay", ["screen"]),
    ("a cell. phone home", "replay", []),
    ("a plastic, head-like thing", "mannequin", []),
    # boilerplate
    ("a photo of a man", "print", []),
    ("a picture of a woman with glasses", "print", []),
    ("an image of a person", "print", []),
    ("A photo of a man on a poster", "print", ["poster"]),
    ("a photo of a photo of a man", "print", ["photo of a photo"]),
    ("a picture of a photograph", "print", ["picture of a photograph"]),
    ("a man and a photo", "print", []),
    ("a photo", "print", []),
    # negation
    ("a man with no mask", "mask", []),
    ("a man without a mask", "mask", []),
    ("not a screen", "replay", []),
    ("a man not wearing a mask", "mask", []),
    ("a man who isn't holding a photo", "print", []),
    ("he doesn\u2019t hold a picture", "print", []),
    ("no paper mask but a screen", "mask", []),
    ("without a hat or mask", "mask", ["mask"]),  # the fourth word after
    ("without hat or mask", "mask", []),
    ("no glasses. a mask on a wall", "mask", ["mask"]),
    ("not at all; paper", "print", ["paper"]),
    ("no, paper", "print", []),
    ("a mask without paper", "mask", ["mask"]),
    ("a nose and a mask", "mask", ["mask"]),
    ("no mask on the man in a mask", "mask", ["mask"]),
    # exclusions
    ("a nurse wearing a face mask", "mask", []),
    ("people in surgical masks", "mask", []),
    ("a doctor in a medical mask", "mask", []),
    ("a facemask", "mask", []),
    ("a face-mask and a rubber mask", "mask", ["mask", "rubber"]),
    ("a plastic face shield", "mask", []),
    ("a screen door", "replay", []),
    ("a paper cup", "print", []),
    ("toilet paper", "print", []),
    ("a woman in a printed dress", "print", []),
    ("a man in a printed t-shirt", "print", []),
    ("cakes on display", "replay", []),
    ("cakes on display in a display case", "replay", []),
    ("a guest on a tv show", "replay", []),
    ("a rubber duck", "mask", []),
    # the longest phrase takes its words
    ("a tablet screen", "replay", ["screen", "tablet"]),
    ("a phone screen", "print", []),
    ("a paper mask", "print", []),
    ("paper and a piece of paper", "print", ["paper", "piece of paper"]),
    ("a mannequin head and a mannequin", "mannequin", ["mannequin", "mannequin head"]),
    ("paper paper paper", "print", ["paper"]),
    # other species, and those without keywords
    ("a screen", "print", []),
    ("a mannequin in a mask", "mask", ["mask"]),
    ("a mannequin in a mask", "mannequin", ["mannequin"]),
    ("a woman with make-up on a screen", "makeup", []),
    ("paper glasses and a mask", "partial", []),
    ("a man on paper with a mask", None, []),
    # any text will do
    ("", "print", []),
    (" \t\n", "print", []),
    ("?!", "print", []),
    ("\0", "print", []),
    ("a paper\0mask", "mask", ["mask"]),
    ("a paper\0mask", "print", ["paper"]),
    ("\ud800 paper \udfff", "print", ["paper"]),
    ("paper\ud800", "print", ["paper"]),
    ("\U0001f4f1 tablet \U0001f4f1", "replay", ["tablet"]),
    ("x" * 1_000_000, "print", []),
    ("a man and " * 100_000 + "paper", "print", ["paper"]),
    ("photo of a " * 100_000, "print", ["photo of a photo"]),
    ("no " * 300_000 + "mask", "mask", []),
    ("\u00e9 " * 300_000 + "mask", "mask", ["mask"]),
]

ALIASES = [
    ("a man on paper", "mask", "paper_mask_face", ["paper"]),
    ("a man on paper", "mask", "paper_mask", ["paper"]),
    ("a poster in a paper mask", "mask", "paper_mask_upper", ["poster", "paper mask"]),
    ("a man on paper", "mask", "mask_3d", []),
    ("a man on paper", "mask", None, []),
    ("a man on paper", "partial", "paper_mask_face", []),
    ("a screen", "mask", "paper_mask_face", []),
    ("a mask", "print", "paper_mask_face", []),
]


def short(value: object) -> str:
    return ascii(value)[:40]


@pytest.mark.parametrize(("caption", "species", "expected"), CASES, ids=short)
def test_the_default_dictionary_finds(caption, species, expected) -> None:
    assert DEFAULT.matches(caption, species) == expected


@pytest.mark.parametrize(("caption", "species", "fine_type", "expected"), ALIASES)
def test_paper_masks_may_be_called_either(caption, species, fine_type, expected) -> None:
    assert DEFAULT.matches(caption, species, fine_type) == expected


def test_a_species_may_be_given_as_enumeration() -> None:
    assert DEFAULT.matches("a mask", PaiSpecies.MASK) == ["mask"]


def test_an_unknown_species_is_refused() -> None:
    with pytest.raises(ValueError, match="fakery"):
        DEFAULT.matches("a mask", "fakery")
    with pytest.raises(ValueError, match="fakery"):
        DEFAULT.match_columns(pa.array(["a mask"]), pa.array(["fakery"]), pa.nulls(1))


@pytest.mark.parametrize(
    ("caption", "species", "expected"),
    [
        ("a newspaper", "print", ["paper"]),
        ("sunscreen on a tablet", "replay", ["screen", "tablet"]),
        ("no paper", "print", ["paper"]),
        ("NEWSPAPER", "print", ["paper"]),
        ("a sheet of pap-er", "print", []),
        ("a mask", "mask", []),
        ("two mannequins", "mannequin", ["mannequin"]),
        ("a \ud800 paper\0", "print", ["paper"]),
    ],
)
def test_the_literal_dictionary_is_the_papers_substring(caption, species, expected) -> None:
    assert LITERAL.matches(caption, species) == expected


@pytest.mark.parametrize("dictionary", [DEFAULT, LITERAL], ids=["words", "substring"])
def test_columns_agree_with_single_captions_on_every_case(dictionary) -> None:
    rows = [(c, s, f) for c, s, f, _ in [*((c, s, None, e) for c, s, e in CASES), *ALIASES]]
    rows = [row for row in rows if row[0].encode("utf-8", "replace").decode() == row[0]]
    check_columns(dictionary, rows)


def check_columns(dictionary, rows):
    own, other = match_rows(dictionary, rows)
    for (caption, species, fine_type), found, others in zip(rows, own, other, strict=True):
        accepted = dictionary.accepted(species, fine_type)
        keywords = [dictionary.keywords[number] for number in dictionary.find(caption)]
        assert found == [k.text for k in keywords if k.species in accepted]
        assert others == [k.text for k in keywords if k.species not in accepted]
        if len(caption) < 1000:
            assert found == dictionary.matches(caption, species, fine_type)


def match_rows(dictionary, rows):
    columns = [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
    return [column.to_pylist() for column in dictionary.match_columns(*columns)]


WORDS = sorted(
    {*DEFAULT.rules.base, "man", "paperback", "no", "not", "isn't", "x", "n95", "\u00e9"}
)
GAPS = [" ", " ", " ", " ", "-", "  ", "\n", ", ", ". ", "!", "\0", "\x1c", "'", "_", "\u2019s "]
GAPS += ["\u2011", "\u00a0", "\u0301", " - ", " , ", " . ", "/", '"', "", "\x0b", "\u2028"]


@st.composite
def captions(draw) -> str:
    """Words of the dictionary and others in a row: what all the rules have to tell apart."""
    pairs = st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS))
    text = "".join(word + gap for word, gap in draw(st.lists(pairs, max_size=14)))
    return draw(st.sampled_from(["", " ", "a photo of ", ".", '"'])) + draw(
        st.sampled_from([text, text.upper(), text.title()])
    )


ROWS = st.tuples(
    captions() | st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([None, *map(str, PaiSpecies)]),
    st.sampled_from([None, "paper_mask_face", "print_flat"]),
)


@pytest.mark.parametrize("dictionary", [DEFAULT, LITERAL], ids=["words", "substring"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows=st.lists(ROWS, min_size=1, max_size=12))
def test_columns_agree_with_single_captions(dictionary, rows) -> None:
    check_columns(dictionary, rows)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(captions(), captions())
def test_keywords_are_told_once_and_in_order(one, other) -> None:
    numbers = DEFAULT.find(f"{one} {other} {one}")
    assert numbers == sorted(set(numbers))


def test_a_null_caption_has_no_keywords() -> None:
    own, other = match_rows(DEFAULT, [(None, "print", None), ("paper", "print", None)])
    assert own == [[], ["paper"]]
    assert other == [[], []]


def test_columns_may_be_empty_chunked_or_sliced() -> None:
    nothing = pa.array([], pa.string())
    assert [len(c) for c in DEFAULT.match_columns(nothing, nothing, nothing)] == [0, 0]
    texts = pa.array(["a mask", "on paper", "a man", "\u00e9 paper"])
    species = pa.array(["mask", "print", "print", "print"])
    chunked = pa.chunked_array([texts[:1], nothing, texts[1:]])
    for column in (texts, chunked, texts.cast(pa.large_string()), texts.dictionary_encode()):
        own, _ = DEFAULT.match_columns(column, species, pa.nulls(4, pa.string()))
        assert own.to_pylist() == [["mask"], ["paper"], [], ["paper"]]
    own, _ = DEFAULT.match_columns(texts[1:3], species[1:3], pa.nulls(2))
    assert own.to_pylist() == [["paper"], []]


def test_a_dictionary_can_be_sent_to_a_worker() -> None:
    twin = pickle.loads(pickle.dumps(DEFAULT))
    assert twin == DEFAULT
    assert twin.matches("a mask", "mask") == ["mask"]


def test_it_loads_from_any_kind_of_path() -> None:
    path = FOLDER / "spoof_aware.yaml"
    remote = UPath("memory://keywords/spoof_aware.yaml")
    remote.parent.mkdir(parents=True, exist_ok=True)
    remote.write_bytes(path.read_bytes())
    hashes = {KeywordDictionary.load(p).sha256 for p in (path, str(path), UPath(path), remote)}
    assert len(hashes) == 1


def test_the_hash_follows_the_file(tmp_path) -> None:
    text = (FOLDER / "spoof_aware.yaml").read_text()
    (tmp_path / "other.yaml").write_text(text + "\n# a comment\n")
    other = KeywordDictionary.load(tmp_path / "other.yaml")
    assert other.sha256 != DEFAULT.sha256
    assert other.keywords == DEFAULT.keywords


def test_an_absent_file_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        KeywordDictionary.load(tmp_path / "absent.yaml")
    assert "absent.yaml" in caught.value.where


def test_conflicts_are_kept_by_default() -> None:
    assert DEFAULT.policy is ConflictPolicy.KEEP
