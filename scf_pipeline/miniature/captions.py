"""Plain English for the generic corpus: what an everyday captioner would say of a drawn picture.

Sentences are put together from phrases that leave things out at random, as people do. Which words
may name paper, displays, masks and figures follows everyday use: no sentence speaks of attacks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scf_pipeline.miniature.faces import Person
from scf_pipeline.miniature.things import COLOURED

PLACES: dict[str, tuple[str, ...]] = {
    "wall": ("in front of a wall", "against a plain wall", "near a wall"),
    "curtain": ("in front of a curtain", "near a curtain"),
    "window": ("in front of a window", "near a window"),
    "bookshelf": ("in front of a bookshelf", "in a room with books"),
    "brick": ("in front of a brick wall", "near a brick wall"),
    "garden": ("in a garden", "outside near green trees"),
    "sky": ("under a blue sky", "outside under the sky"),
    "office": ("in an office", "in a room with a desk"),
    "studio_green": ("in front of a green wall", "against a green background"),
    "studio_white": ("in front of a white wall", "against a white background"),
}
"""Phrases for each background."""

PRINTS: dict[str, tuple[str, ...]] = {
    "page": (
        "a printed photo of {}",
        "a photo of {} printed on paper",
        "a piece of paper with a picture of {}",
        "a picture of {} on paper",
        "someone holding a paper with a photo of {}",
        "a photo of a photo of {}",
    ),
    "poster": (
        "a poster of {}",
        "a poster with a picture of {}",
        "a large poster showing {}",
    ),
}
"""Sentences about prints; the braces stand for what is shown."""

SCREENS: dict[str, tuple[str, ...]] = {
    "phone": (
        "a phone screen showing {}",
        "a cell phone with a photo of {}",
        "someone holding a cell phone with a picture of {}",
    ),
    "tablet": (
        "a tablet with a picture of {}",
        "a tablet screen showing {}",
        "a picture of {} on a tablet",
    ),
    "laptop": (
        "a laptop with a picture of {}",
        "a laptop screen showing {}",
        "a photo of {} on a laptop",
    ),
    "monitor": (
        "a computer monitor showing {}",
        "a computer screen with a picture of {}",
        "a picture of {} on a monitor",
    ),
    "any": ("a screen showing {}", "a picture of {} on a screen", "a photo of {} on a screen"),
}
"""Sentences about displays."""

MASKS: dict[str, tuple[str, ...]] = {
    "plaster_mask": ("a white mask", "a mask"),
    "silicone_mask": ("a rubber mask", "a mask"),
    "transparent_mask": ("a plastic mask", "a clear plastic mask"),
    "paper_mask": ("a paper mask", "a mask"),
    "paper_mask_cut": ("a paper mask", "a mask"),
    "mask_3d_print": ("a plastic mask", "a mask"),
    "resin_mask": ("a mask", "a painted mask", "a plastic mask"),
    "half_mask": ("a mask", "a half mask"),
}
"""Names of masks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What one picture shows, in the terms that captions need."""

    background: str
    """The place; of a print or display, the place that it shows."""

    person: Person | None = None
    """Who is shown, if anybody."""

    thing: str | None = None
    """What is held, or shown where there is nobody."""

    thing_colour: str = ""
    """Its colour, where it has one."""

    medium: str | None = None
    """``print``, ``replay``, ``mask`` or ``mannequin``; ``None`` for plain pictures."""

    instrument: str = "face"
    """What was drawn."""

    naming: float = 1.0
    """Probability that a caption names the medium."""


def describe(subject: Subject, rng: np.random.Generator) -> str:
    """Return one caption."""
    is_named = rng.random() < subject.naming
    if subject.medium in ("print", "replay"):
        shown = _shown(subject, rng)
        return _sheet_sentence(subject, rng).format(shown) if is_named else _opened(shown, rng)
    if subject.medium == "mask":
        return _mask_sentence(subject, rng) if is_named else _person_sentence(subject, rng)
    if subject.medium == "mannequin":
        return _figure_sentence(subject, rng, is_named=is_named)
    if subject.person is None:
        return _thing_sentence(subject, rng)
    return _person_sentence(subject, rng)


def _pick(options: tuple[str, ...] | list[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]


def _maybe(phrase: str, probability: float, rng: np.random.Generator) -> str:
    return phrase if rng.random() < probability else ""


def _join(*phrases: str) -> str:
    return " ".join(phrase for phrase in phrases if phrase)


def _article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def _opened(sentence: str, rng: np.random.Generator) -> str:
    """Begin some captions as photo captions begin."""
    kind = rng.random()
    if kind < 0.1:
        return f"a photo of {sentence}"
    return f"a picture of {sentence}" if kind < 0.16 else sentence


def _place(subject: Subject, probability: float, rng: np.random.Generator) -> str:
    return _maybe(_pick(PLACES[subject.background], rng), probability, rng)


def _hair(person: Person, rng: np.random.Generator) -> str:
    """Return what follows the noun, e.g. ``with long brown hair and glasses``."""
    words = []
    if person.hair_length != "bald" and rng.random() < 0.8:
        full = f"{person.hair_length} {person.hair_colour} hair"
        words.append(full if rng.random() < 0.8 else f"{person.hair_colour} hair")
    if person.has_beard and rng.random() < 0.6:
        words.append("a beard")
    if person.has_glasses and rng.random() < 0.65:
        words.append("glasses")
    return f"with {' and '.join(words)}" if words else ""


def _clothes(person: Person, rng: np.random.Generator, *, is_seen: bool) -> str:
    """Return what is worn; of a person in a print or on a display shirts are seldom to be seen."""
    worn = []
    if person.hat_colour and rng.random() < 0.75:
        worn.append(f"{_article(person.hat_colour)} hat")
    if rng.random() < 0.6 and is_seen:
        worn.append(f"{_article(person.shirt_colour)} shirt")
    return f"{_pick(('wearing', 'wearing', 'in'), rng)} {' and '.join(worn)}" if worn else ""


def _noun(person: Person, rng: np.random.Generator) -> str:
    noun = person.sex if rng.random() < 0.93 else "person"
    return f"a bald {noun}" if person.hair_length == "bald" and rng.random() < 0.7 else f"a {noun}"


def _person(subject: Subject, rng: np.random.Generator) -> str:
    person = subject.person
    if person is None:
        raise ValueError("`subject.person` must be given, but is None.")
    is_seen = subject.medium not in ("print", "replay")
    clothes = _clothes(person, rng, is_seen=is_seen)
    return _join(_noun(person, rng), _hair(person, rng), clothes)


def _person_sentence(subject: Subject, rng: np.random.Generator) -> str:
    held = ""
    if subject.thing is not None:
        held = f"holding {_thing(subject, rng)}"
    return _opened(_join(_person(subject, rng), held, _place(subject, 0.45, rng)), rng)


def _thing(subject: Subject, rng: np.random.Generator) -> str:
    thing = subject.thing or ""
    if thing == "paper":
        return _pick(("a piece of paper", "a sheet of paper", "a paper"), rng)
    if thing == "phone":
        return _pick(("a phone", "a cell phone"), rng)
    if thing in COLOURED and rng.random() < 0.6:
        return f"{_article(subject.thing_colour)} {thing}"
    return f"a {thing}"


def _thing_sentence(subject: Subject, rng: np.random.Generator) -> str:
    where = _pick(("on a desk", "on a table"), rng)
    return _opened(_join(_thing(subject, rng), where, _place(subject, 0.35, rng)), rng)


def _shown(subject: Subject, rng: np.random.Generator) -> str:
    if subject.person is None:
        return _thing(subject, rng)
    return _join(_person(subject, rng), _place(subject, 0.2, rng))


def _sheet_sentence(subject: Subject, rng: np.random.Generator) -> str:
    if subject.medium == "print":
        key = "poster" if subject.instrument == "poster" or rng.random() < 0.12 else "page"
        return _pick(PRINTS[key], rng)
    key = subject.instrument if rng.random() < 0.72 else "any"
    return _pick(SCREENS[key], rng)


def _mask_sentence(subject: Subject, rng: np.random.Generator) -> str:
    mask = _pick(MASKS[subject.instrument], rng)
    person = subject.person
    if person is None:
        return _join(mask, "on a wall") if mask else ""
    noun = _pick((f"a {person.sex}", "a person", "someone"), rng)
    worn = _pick((f"wearing {mask}", f"in {mask}", f"with {mask} on the face"), rng)
    shirt = _maybe(f"and {_article(person.shirt_colour)} shirt", 0.4, rng)
    if "face" in worn:
        shirt = shirt.replace("and", "wearing", 1)
    return _join(noun, worn, shirt, _place(subject, 0.4, rng))


def _figure_sentence(subject: Subject, rng: np.random.Generator, *, is_named: bool) -> str:
    person = subject.person
    if person is None:
        raise ValueError("`subject.person` must be given, but is None.")
    if not is_named:
        head = _pick((f"a {person.sex}", "a bald head", "a head on a stand", "a person"), rng)
        return _opened(_join(head, _place(subject, 0.5, rng)), rng)
    figures = (
        "a mannequin",
        "a mannequin head",
        "a mannequin head on a stand",
        f"a statue of a {person.sex}",
        "a statue of a head",
        "a doll",
        f"a sculpture of a {person.sex}",
        "a plastic doll head",
    )
    return _opened(_join(_pick(figures, rng), _place(subject, 0.5, rng)), rng)
