"""Millions of distinct captions, as a sealed artifact like those of `scf caption`.

A caption is one combination of the choices of a grammar, some 10^14 of them: opening, adjective,
person, colour, clothes, medium or thing, and three syllables of a made-up name. Row n takes the
combination ``n * STEP`` modulo their number; as STEP shares no factor with it, no combination comes
twice, and every choice varies all along the rows. 400,000 words occur.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from ifas_model.vocabulary import Label, PaiSpecies
from scf_pipeline.schema import CAPTION_SCHEMA
from scf_pipeline.settings import Settings
from scf_pipeline.store import Artifact, ArtifactWriter

OPENINGS = (
    "a photo of a",
    "a picture of a",
    "a close up of a",
    "a",
    "the",
    "there is a",
    "an image of a",
    "a blurry photo of a",
    "this is a",
    "portrait of a",
    "a selfie of a",
    "we see one",
    "a black and white picture of a",
)
ADJECTIVES = """
    young old smiling tired serious bearded tall short slim happy angry calm surprised elderly
    cheerful pale tanned freckled bald blonde curious sleepy shy proud lonely friendly handsome
    pretty quiet middle-aged unshaven laughing frowning squinting blinking yawning nodding
"""
PEOPLE = """
    man woman boy girl person child student teacher doctor nurse driver farmer singer actor dancer
    soldier sailor waiter cook painter writer runner cyclist tourist guest neighbour clerk guard
    pilot judge baker barber carpenter plumber lawyer journalist scientist gardener musician
"""
COLOURS = """
    red blue green yellow white black grey brown pink purple orange beige navy teal maroon olive
    turquoise striped checked dotted faded bright dark light
"""
CLOTHES = """
    shirt t-shirt sweater jacket coat hoodie blouse dress suit vest scarf hat cap tie uniform
    turtleneck cardigan polo raincoat apron tunic kimono sweatshirt blazer robe necklace beanie
"""
MEDIA = (
    # keywords of the default dictionary, exclusions and negations among them
    *("holding a piece of paper with", "on a tablet screen beside", "printed on paper beside"),
    *("on the screen of a laptop near", "wearing a silicone mask and", "in front of a computer by"),
    *("shown on a phone screen with", "as a mannequin head behind", "like a doll next to"),
    *("wearing a paper mask beside", "on a poster about", "on the cover of a magazine called"),
    *("with no mask on, near", "and a tv show about", "wearing a surgical mask near"),
    *("on display at", "beside a statue of", "holding his ipad, showing"),
    # none
    *("standing next to", "sitting in front of", "looking at", "talking to", "waving at"),
    *("leaning against", "pointing at", "walking towards", "reading about", "drinking"),
    *("playing with", "with glasses and", "with a moustache, thinking of", "smiling at"),
    *("posing with", "who holds", "holding", "with long hair and a bag of", "eating"),
    *("carrying", "turning away from", "waiting for"),
)
SYLLABLES = [first + vowel for first in "bdfghjklmnprstvz" for vowel in ("a", "e", "i", "o", "u")]

SLOTS = (
    SYLLABLES,
    MEDIA,
    PEOPLE.split(),
    SYLLABLES,
    COLOURS.split(),
    ADJECTIVES.split(),
    SYLLABLES,
    CLOTHES.split(),
    OPENINGS,
)
STEP = 274_876_858_367
"""A prime; ten million times it is below 2^63."""

DATASETS = ("celeba_spoof", "siw_m_v2", "wmca", "hifi_mask", "rose_youtu", "oulu_npu")
SPECIES = {
    PaiSpecies.PRINT: "print_flat",
    PaiSpecies.REPLAY: "replay_video",
    PaiSpecies.MASK: "paper_mask",
    PaiSpecies.MANNEQUIN: "mannequin_head",
    PaiSpecies.MAKEUP: "makeup_heavy",
    PaiSpecies.PARTIAL: "partial_eyes",
}


def draw_captions(start: int, stop: int) -> pa.StringArray:
    """Return the captions of some rows; no two rows of any size of artifact have the same."""
    total = math.prod(map(len, SLOTS))
    if math.gcd(STEP, total) != 1:
        raise ValueError(f"`STEP` must share no factor with {total}, but does.")
    rest = np.arange(start, stop, dtype=np.int64) * STEP % total
    words = []
    for slot in SLOTS:
        rest, choice = np.divmod(rest, len(slot))
        words.append(pa.array(slot).take(pa.array(choice)))
    one, medium, person, two, colour, adjective, three, clothes, opening = words
    name = pc.binary_join_element_wise(one, two, three, "")
    return pc.binary_join_element_wise(
        *(opening, adjective, person, "in a", colour, clothes, medium, name, " ")
    )


def draw_part(start: int, stop: int, dataset: str, vocabulary: pa.Array | None = None) -> pa.Table:
    """Return rows of attacks as `scf caption` writes them, two frames of each sample.

    Args:
        start: First row.
        stop: Row after the last.
        dataset: Adapter name.
        vocabulary: All captions there are, to be drawn at random; else each row has its own.
    """
    rng = np.random.default_rng(start)
    row = np.arange(start, stop)
    size = len(row)
    sample = pa.array(row // 2)

    def pick(options: list[str]) -> pa.Array:
        return pa.array(options).take(pa.array(row // 2 * 7919 % len(options)))

    subject = pc.cast(pa.array(row // 64), pa.string())
    number = pc.utf8_lpad(pc.cast(sample, pa.string()), 8, "0")
    sample_id = pc.binary_join_element_wise(f"{dataset}/train", subject, "spoof", number, "/")
    frame = pc.cast(pa.array(row % 2), pa.string())
    species = list(SPECIES)
    columns = {
        "face_id": pc.binary_join_element_wise(sample_id, frame, "#"),
        "sample_id": sample_id,
        "dataset": pa.repeat(dataset, size),
        "split": pa.repeat("train", size),
        "subject_id": subject,
        "label": pa.repeat(Label.ATTACK.value, size),
        "pai_species": pick([kind.value for kind in species]),
        "fine_type": pick([SPECIES[kind] for kind in species]),
        "caption": draw_captions(start, stop)
        if vocabulary is None
        else vocabulary.take(pa.array(rng.integers(0, len(vocabulary), size))),
        "num_tokens": pa.array(rng.integers(8, 31, size), pa.int32()),
        "mean_log_probability": pa.array(-rng.gamma(2, 0.2, size), pa.float32()),
        "captioner": pa.repeat("blip2@0123456789ab", size),
        "reject": pa.nulls(size, pa.string()),
    }
    return pa.table([columns[name] for name in CAPTION_SCHEMA.names], schema=CAPTION_SCHEMA)


def write_captions(
    folder: Path, *, rows: int, part_rows: int, vocabulary: int | None = None
) -> Artifact:
    """Write and seal the artifact.

    Args:
        folder: Where.
        rows: Rows in all.
        part_rows: Rows in a part; each part is of one dataset.
        vocabulary: How many distinct captions there are; else each row has its own.

    Raises:
        ValueError: If each row should have its own, and two have the same.
    """
    told = {"rows": rows, "part_rows": part_rows, "vocabulary": vocabulary}
    writer = ArtifactWriter(folder, CAPTION_SCHEMA, settings=Settings("caption", 1, told, {}))
    few = None if vocabulary is None else draw_captions(0, vocabulary)
    hashes = []
    for number, start in enumerate(range(0, rows, part_rows)):
        dataset = DATASETS[number % len(DATASETS)]
        table = draw_part(start, min(start + part_rows, rows), dataset, few)
        hashes.append(pl.Series(table["caption"]).hash().to_numpy())
        writer.write(number, table)
    distinct = len(np.unique(np.concatenate(hashes)))
    if vocabulary is None and distinct != rows:
        raise ValueError(f"All {rows} captions must be distinct, but {distinct} are.")
    return writer.seal()
