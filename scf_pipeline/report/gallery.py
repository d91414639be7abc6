"""Sections 4 and 5: captions of both captioners beside the faces, and the model's answers."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.report import paper
from scf_pipeline.report.html import Html, absent, escape, join, paragraph, picture, section, tag
from scf_pipeline.report.material import Evaluation, Material, Strand
from scf_pipeline.report.runs import FULL
from scf_pipeline.schema import is_held_out

EACH = 3
"""Faces of each kind in the gallery of captions."""

RESPONSES = 12
"""Most answers that are shown of one world."""

WINDOW = 8
"""Most words of a keyword."""

MOST = 600
"""Most characters of a text that are shown; captions have about a hundred."""

PNG, MAX_PNG_BYTES = b"\x89PNG\r\n\x1a\n", 2**23
"""First bytes of a PNG, and the largest that is shown; crops take at most half of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A face with what each captioner says of it."""

    face_id: str
    """Which face."""

    dataset: str
    """Its dataset."""

    kind: str
    """PAI species, or ``bona_fide``."""

    captions: Mapping[str, str]
    """By the captioner's title."""


def captions(material: Material) -> Html:
    """Return the gallery of captions (Figure 3)."""
    told = [_gallery(material, strand) for strand in material.strands()]
    nothing = absent("No captions are among the inputs of this report.")
    return section("gallery", "Captions of both captioners (Figure 3)", *(told or [nothing]))


def responses(material: Material) -> Html:
    """Return the answers of the full model (Figure 4)."""
    told: list[tuple[str, Html]] = []
    for evaluation in material.evaluations:
        worlds = {r.world for r in evaluation.results if r.variant == FULL}
        if evaluation.responses and worlds and worlds.isdisjoint(world for world, _ in told):
            told.append((min(worlds), _answers(material, evaluation)))
    shown = [html for _, html in sorted(told, key=lambda pair: pair[0] == "easy")]
    nothing = absent("No answers were generated: no evaluation of the full model holds responses.")
    return section("responses", "Answers of the model (Figure 4)", *(shown or [nothing]))


def mark(caption: str, dictionary: KeywordDictionary) -> Html:
    """Return a caption with its keywords marked; a negated one, which is no hit, is not.

    The shortest run of words that holds a keyword of the caption is marked.
    """
    caption = _shorten(caption)
    wanted = set(dictionary.find(caption))
    words = caption.split()
    marked: dict[int, int] = {}
    for size in range(1, WINDOW + 1):
        for start in range(len(words) - size + 1):
            end = start + size
            is_new = all(end <= s or start >= e for s, e in marked.items())
            if is_new and wanted & set(dictionary.find(" ".join(words[start:end]))):
                marked[start] = end
    parts: list[Html] = []
    position = 0
    for start, end in sorted(marked.items()):
        parts += [escape(word) for word in words[position:start]]
        parts.append(tag("mark", " ".join(words[start:end])))
        position = end
    return join([*parts, *map(escape, words[position:])], " ")


def _gallery(material: Material, strand: Strand) -> Html:
    chosen = _choose(strand)
    if not chosen:
        return absent(
            f"Of the {strand.heading}, there are no captions of two captioners to compare."
        )
    images = _images(strand, {one.face_id for one in chosen})
    cards = [_card(one, images.get(one.face_id), material.dictionary) for one in chosen]
    held_out = "of held-out subjects" if _fraction(strand) else "of all subjects"
    return join(
        [
            tag("h3", strand.heading),
            paragraph(
                f"Faces {held_out}, up to {EACH} of each kind from different datasets, drawn by a "
                "hash of their names, not picked. Keywords of any attack are marked."
            ),
            tag("div", *cards, class_="cards"),
        ]
    )


def _card(face: Described, png: bytes | None, dictionary: KeywordDictionary) -> Html:
    kind = face.kind.replace("_", " ")
    lines = [
        tag("p", tag("span", name, class_="who"), " ", mark(text, dictionary))
        for name, text in face.captions.items()
    ]
    title = tag("p", tag("b", kind), f", {paper.title(face.dataset)}")
    return tag("article", _image(png, f"Face, {kind}"), tag("div", title, *lines))


def _shorten(text: str) -> str:
    return text if len(text) <= MOST else f"{text[:MOST]} ..."


def _image(png: bytes | None, description: str) -> Html:
    if png is None or len(png) > MAX_PNG_BYTES or not png.startswith(PNG):
        return tag("div", "no picture", class_="blank")
    return picture(png, description)


def _choose(strand: Strand) -> list[Described]:
    """Choose faces that every captioner described, by a hash of their names."""
    told = strand.captioners()
    if len(told) < 2:
        return []
    spoken = {one.title: _spoken(strand, one.title) for one in told[:3]}
    first, *rest = spoken.values()
    common = [face for face in first if all(face in other for other in rest)]
    by_kind: dict[str, list[str]] = defaultdict(list)
    for face in sorted(common, key=_lot):
        by_kind[first[face][1]].append(face)
    return [
        Described(
            face_id=face,
            dataset=first[face][0],
            kind=kind,
            captions={title: rows[face][2] for title, rows in spoken.items()},
        )
        for kind in (*map(str, PaiSpecies), "bona_fide")
        for face in _varied(by_kind[kind], lambda face: first[face][0])
    ]


def _varied(faces: Sequence[str], dataset: Any) -> list[str]:  # noqa: ANN401 - str -> str
    """Return the first faces of different datasets, then of any."""
    seen: set[str] = set()
    fresh = [face for face in faces if not (dataset(face) in seen or seen.add(dataset(face)))]  # type: ignore[func-returns-value]
    return [*fresh, *(face for face in faces if face not in fresh)][:EACH]


def _lot(face_id: str) -> bytes:
    return hashlib.sha256(face_id.encode()).digest()


def _spoken(strand: Strand, title: str) -> dict[str, tuple[str, str, str]]:
    """Return dataset, kind and caption of each face that a captioner described."""
    (captioner,) = [one for one in strand.captioners() if one.title == title]
    fraction = _fraction(strand)
    columns = ["face_id", "dataset", "subject_id", "sample_id", "pai_species", "caption"]
    return {
        row["face_id"]: (row["dataset"], row["pai_species"] or "bona_fide", row["caption"])
        for artifact in strand.captions(captioner)
        for row in artifact.read(columns).to_pylist()
        if not fraction
        or is_held_out(row["dataset"], row["subject_id"] or row["sample_id"], fraction)
    }


def _fraction(strand: Strand) -> float | None:
    found = [one.manifest["config"].get("hold_out_fraction") for one in strand.of("stats")]
    return next((float(fraction) for fraction in found if fraction), None)


def _images(strand: Strand, wanted: set[str]) -> dict[str, bytes]:
    """Return the crops of some faces; parts without any of them are not read.

    Captions lie in the part of the same number as their faces.
    """
    numbers = {
        part.number
        for artifact in strand.of("caption")
        for part in artifact.parts()
        if _holds(part.read(["face_id"]), wanted)
    }
    images: dict[str, bytes] = {}
    for artifact in strand.of("crop"):
        for part in artifact.parts():
            if part.number in numbers:
                table = part.read(["face_id", "image"])
                rows = table.filter(pc.is_in(table["face_id"], pa.array(sorted(wanted))))
                images |= {row["face_id"]: row["image"] for row in rows.to_pylist()}
    return images


def _holds(table: pa.Table, wanted: Iterable[str]) -> bool:
    return bool(pc.any(pc.is_in(table["face_id"], pa.array(sorted(wanted), pa.string()))).as_py())


def _answers(material: Material, evaluation: Evaluation) -> Html:
    chosen = _spread(evaluation.responses)
    wanted = {str(one["face_id"]) for one in chosen}
    world, seed = evaluation.results[0].world, evaluation.results[0].seed
    images: dict[str, bytes] = {}
    for strand in _strands_of(material, evaluation):
        images |= _images(strand, wanted - images.keys())
    cards = [_answer(one, images.get(str(one["face_id"])), material.dictionary) for one in chosen]
    return join(
        [
            tag("h3", f"{world} world, seed {seed}" if world else f"real data, seed {seed}"),
            paragraph(
                "What the full model answers. The reference is the interpretation that the shards "
                "hold for this face, which training on other datasets never showed."
            ),
            tag("div", *cards, class_="cards"),
        ]
    )


def _strands_of(material: Material, evaluation: Evaluation) -> list[Strand]:
    """Return what the judged faces were curated from; two worlds may name faces alike."""
    first, strands = evaluation.results[0], material.strands()
    named = [
        strand
        for strand in strands
        if first.inputs.get("shards") in [shard.name for shard in strand.of("shard")]
    ]
    alike = [one for one in strands if not one.of("world") or first.world in ("", one.title)]
    return named or (alike if len(alike) == 1 else [])


def _spread(told: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return some responses, of every label and dataset in turn."""
    ordered = sorted(told, key=lambda one: (one["dataset"], _lot(str(one["face_id"]))))
    turns: dict[tuple[str, str], int] = defaultdict(int)
    ranked = []
    for one in ordered:
        turns[key := (str(one["dataset"]), str(one["label"]))] += 1
        ranked.append((turns[key], one))
    ranked.sort(key=lambda pair: (pair[0], _lot(str(pair[1]["face_id"]))))
    return [one for _, one in ranked[:RESPONSES]]


def _answer(told: Mapping[str, Any], png: bytes | None, dictionary: KeywordDictionary) -> Html:
    kind = str(told.get("pai_species") or "bona fide")
    is_right = str(told["judgment"]).strip(" .").lower() == ("yes" if kind == "bona fide" else "no")
    verdict = tag("span", "right" if is_right else "wrong", class_="right" if is_right else "wrong")
    reference = str(told.get("reference") or "")
    said = f"{told['judgment']} (p_yes {float(told['p_yes']):.2f}), "
    return tag(
        "article",
        _image(png, f"Face, {kind}"),
        tag(
            "div",
            tag("p", tag("b", kind), f", {paper.title(str(told['dataset']))}"),
            tag("p", tag("span", "answer", class_="who"), " ", said, verdict),
            tag("p", mark(str(told.get("interpretation") or ""), dictionary)),
            tag("p", tag("span", "reference", class_="who"), " ", _shorten(reference)),
        ),
    )
