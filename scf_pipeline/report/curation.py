"""Sections 2 and 3: the funnel of SCF, the audit of its captioners, and the words they use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.report import paper
from scf_pipeline.report.figures import NONE, percent
from scf_pipeline.report.html import (
    Group,
    Html,
    absent,
    escape,
    folded,
    items,
    join,
    paragraph,
    section,
    tag,
)
from scf_pipeline.report.html import table as html_table
from scf_pipeline.report.material import Captioner, Material, Strand
from scf_pipeline.stats import ALL, KINDS, funnel
from scf_pipeline.store import Artifact

STEPS = ("presentations", "faces", "captions", "D_S", "shards")
Counts = Mapping[tuple[str, str], int]
"""Live rows by dataset and kind, totals under `ALL`."""


def curation(material: Material) -> Html:
    """Return the sections on the funnel, the audit and the keywords."""
    strands = material.strands()
    nothing = [absent("No curated artifacts are among the inputs of this report.")]
    parts = {
        ("funnel", "From presentations to shards"): [_funnel(one) for one in strands],
        ("audit", "What the captioners say"): [_audit(one) for one in strands],
        ("keywords", "Keywords"): [_keywords(material, one) for one in strands],
    }
    return join(section(*names, *(told or nothing)) for names, told in parts.items())


def _funnel(strand: Strand) -> Html:
    counted = _counted(strand)
    datasets = sorted({key[0] for one in counted.values() for key in one} - {ALL})
    kinds = [kind for kind in KINDS if any((ALL, kind) in one for one in counted.values())]
    by_dataset = [_funnel_row(counted, paper.title(d), (d, "")) for d in [*datasets, ALL]]
    by_kind = [_funnel_row(counted, kind.replace("_", " "), (ALL, kind)) for kind in kinds]
    note = (
        "Live rows after each step. Captions are C_G's of attacks and of bona fide faces; D_S "
        "keeps those of attacks that name their own attack; shards hold every face with a caption."
    )
    return join(
        [
            tag("h3", strand.heading),
            paragraph(note),
            html_table("The funnel by dataset", [Group("", ["dataset", *STEPS])], by_dataset),
            html_table("The funnel by kind", [Group("", ["kind", *STEPS])], by_kind),
            _rejected(strand),
        ]
    )


def _funnel_row(counted: Mapping[str, Counts], title: str, key: tuple[str, str]) -> list[Html]:
    cells = [counted[step].get(key) if step in counted else None for step in STEPS]
    return [escape(title), *(NONE if n is None else escape(f"{n:,}") for n in cells)]


def _counted(strand: Strand) -> dict[str, Counts]:
    """Return the live rows after each step that is known, pictures never being read.

    Faces are the rows of the caption tables that the shards rest on, which are theirs one to one.
    """
    counted: dict[str, Counts] = {}
    if samples := strand.of("ingest"):
        counted["presentations"] = _count(samples, lambda row: row.live)
    general = next(iter(strand.captioners()), None)
    if general is not None and (captions := _per_label(strand.captions(general))):
        counted["faces"] = _count(captions, lambda row: row.live + sum(row.rejected.values()))
        counted["captions"] = _count(captions, lambda row: row.live)
    if filtered := strand.of("filter"):  # of several, the paper's: it has the most datasets
        widest = max(filtered, key=lambda one: one.counts.live)
        counted["D_S"] = _count([widest], lambda row: row.live)
    for shard in strand.of("shard")[:1]:
        names = shard.manifest["inputs"].get("captions", [])
        told = [one for one in strand.of("caption") if one.name in names]
        counted["shards"] = _count(told, lambda row: row.live)
    return counted


def _per_label(captions: Sequence[Artifact]) -> list[Artifact]:
    """Return one table for each label asked for, so that no face is counted twice."""
    return list({one.manifest["config"].get("label"): one for one in captions}.values())


def _count(artifacts: Iterable[Artifact], number: Callable[..., int]) -> Counts:
    counts: Counter[tuple[str, str]] = Counter()
    for artifact in artifacts:
        for row in funnel(artifact):
            counts[row.dataset, row.kind] += number(row)
            if row.kind in ("attack", "bona_fide"):
                counts[row.dataset, ""] += number(row)
    return counts


def _rejected(strand: Strand) -> Html:
    told = []
    for stage in ("ingest", "crop", "caption", "filter", "shard"):
        reasons: Counter[str] = Counter()
        for artifact in strand.of(stage):
            reasons += artifact.counts.rejected
        if reasons:
            listed = ", ".join(f"{n:,} {reason}" for reason, n in sorted(reasons.items()))
            told.append(f"{stage} rejected {listed}.")
    return items(told) if told else paragraph("No stage rejected a row.")


def _audit(strand: Strand) -> Html:
    rows = _audit_rows(strand)
    if not rows:
        return absent(f"There is no audit of captioners of {strand.heading}.")
    titles = {one.model: one.title for one in strand.captioners()}
    fractions = [one.manifest["config"].get("hold_out_fraction") for one in strand.of("stats")]
    who = "all subjects" if None in fractions else "held-out subjects, which C_S never saw,"
    head = ["kind", "captioner", "captions", "own attack", "another attack", "any attack", "words"]
    total = [_audit_row(row, titles) for row in rows if row["dataset"] == ALL]
    each = [
        [escape(paper.title(row["dataset"])), *_audit_row(row, titles)]
        for row in rows
        if row["dataset"] != ALL and row["kind"] in ("attack", "bona_fide")
    ]
    return join(
        [
            tag("h3", strand.heading),
            paragraph(
                f"Captions of {who} in percent that name their own attack, another one, or any. "
                "Of bona fide faces, any attack named is a false alarm."
            ),
            html_table("Audit over all datasets", [Group("", head)], total),
            tag(
                "details",
                tag("summary", "By dataset"),
                html_table("Audit by dataset", [Group("", ["dataset", *head])], each),
            ),
        ]
    )


def _audit_rows(strand: Strand) -> list[dict[str, Any]]:
    """Return the rows of all audits, each captioner's once, the captioners of a kind together."""
    rows = {
        (row["dataset"] == ALL, row["dataset"], KINDS.index(row["kind"]), row["captioner"]): row
        for artifact in strand.of("stats")
        for row in artifact.read().to_pylist()
    }
    order = [one.model for one in strand.captioners()]

    def place(key: tuple[bool, str, int, str]) -> tuple[bool, str, int, int]:
        return *key[:3], order.index(key[3]) if key[3] in order else len(order)

    return [rows[key] for key in sorted(rows, key=place)]


def _audit_row(row: Mapping[str, object], titles: Mapping[str, str]) -> list[Html]:
    model = str(row["captioner"])
    shares = [row[name] for name in ("own_rate", "other_rate", "any_rate")]
    words = row["mean_words"]
    return [
        escape(str(row["kind"]).replace("_", " ")),
        join([escape(titles.get(model, model)), " ", tag("small", model)]),
        escape(f"{row['rows']:,}"),
        *(percent(share) if isinstance(share, float) else NONE for share in shares),
        escape(f"{words:.1f}") if isinstance(words, float) else NONE,
    ]


def _keywords(material: Material, strand: Strand) -> Html:
    spoken = [(one, _hits(material, strand, one)) for one in strand.captioners()]
    words = [word for word in material.dictionary.keywords if any(h[word.text] for _, h in spoken)]
    if not words:
        return absent(f"No keyword occurs in a caption of {strand.heading}, or there are none.")
    kinds = [kind for kind in (*map(str, PaiSpecies), "bona_fide") if _seen(spoken, kind)]
    known = paper.keywords()
    groups = [Group("", ["keyword", "names"])] + [
        Group(one.title, [kind.replace("_", " ") for kind in kinds]) for one, _ in spoken
    ]
    rows = [
        [
            join([escape(word.text), Html(" <sup>P</sup>") if word.text in known else ""]),
            str(word.species),
            *(
                _hit(hits[word.text][kind], kind, word.species)
                for _, hits in spoken
                for kind in kinds
            ),
        ]
        for word in words
    ]
    silent = [word.text for word in material.dictionary.keywords if word not in words]
    return join(
        [
            tag("h3", strand.heading),
            paragraph(
                "Captions that hold a keyword, by what the face is. Bold: the keyword names the "
                "face's own attack. P: the paper gives this word; the others are this project's."
            ),
            html_table("Hits of keywords", groups, rows),
            folded(f"{len(silent)} keywords never hit", paragraph(", ".join(silent), "."))
            if silent
            else "",
        ]
    )


def _hit(number: int, kind: str, species: PaiSpecies) -> Html:
    if not number:
        return Html("")
    return tag("b", f"{number:,}") if kind == species else escape(f"{number:,}")


def _seen(spoken: Iterable[tuple[Captioner, Mapping[str, Counter[str]]]], kind: str) -> bool:
    return any(counts[kind] for _, hits in spoken for counts in hits.values())


def _hits(material: Material, strand: Strand, captioner: Captioner) -> dict[str, Counter[str]]:
    """Return how many captions of each kind of face hold each keyword."""
    hits = {keyword.text: Counter[str]() for keyword in material.dictionary.keywords}
    for artifact in _per_label(strand.captions(captioner)):
        for part in artifact.parts():
            table = part.read(["caption", "pai_species", "fine_type"])
            own, other = material.dictionary.match_columns(
                table["caption"], table["pai_species"], table["fine_type"]
            )
            columns = (table["pai_species"].to_pylist(), own.to_pylist(), other.to_pylist())
            for kind, mine, others in zip(*columns, strict=True):
                for word in (*mine, *others):
                    hits[word][kind or "bona_fide"] += 1
    return hits
