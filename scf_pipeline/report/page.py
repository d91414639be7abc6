"""The page: every section in order, one HTML file without script or network."""

from __future__ import annotations

from importlib.resources import files

from scf_pipeline.report.colophon import colophon
from scf_pipeline.report.comparison import tables
from scf_pipeline.report.curation import curation
from scf_pipeline.report.curves import curves
from scf_pipeline.report.gallery import captions, responses
from scf_pipeline.report.html import Html, join, tag
from scf_pipeline.report.material import Material
from scf_pipeline.report.orderings import orderings
from scf_pipeline.report.runs import Runs
from scf_pipeline.report.summary import summary, warning

TITLE = "SCF and I-FAS: report"

POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""What a browser lets the page do: show its own pictures and styles, and nothing else."""

CONTENTS = {
    "summary": "What ran",
    "funnel": "Funnel",
    "keywords": "Keywords",
    "gallery": "Captions",
    "responses": "Answers",
    "tables": "Tables",
    "figures": "Figures",
    "orderings": "Does it hold?",
    "settings": "Settings",
}
"""Links at the top, by the id of their sections."""


def render(material: Material) -> str:
    """Return the page; the same inputs give the same text."""
    runs = Runs(material.results)
    body = [
        tag("h1", TITLE),
        warning(material),
        _contents(),
        summary(material, runs),
        curation(material),
        captions(material),
        responses(material),
        tables(runs),
        curves(runs, material.evaluations),
        orderings(runs),
        colophon(material),
    ]
    style = files(__package__).joinpath("style.css").read_text(encoding="utf-8")
    head = [
        Html('<meta charset="utf-8">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html('<link rel="icon" href="data:,">'),  # or a browser asks the server for one
        tag("title", TITLE),
        tag("style", Html(style)),
    ]
    whole = tag("html", tag("head", *head), tag("body", join(body, "\n")), lang="en")
    return f"<!DOCTYPE html>\n{whole}\n"


def _contents() -> Html:
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name in CONTENTS.items()]
    return tag("nav", tag("ul", *links))
