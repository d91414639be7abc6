"""The whole page: self-contained, safe, deterministic, and complete without any input."""

import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from ifas_model.text import visible
from scf_pipeline.report.material import Evaluation
from scf_pipeline.report.page import CONTENTS
from scf_pipeline.store import Artifact

VOID = {"meta", "img", "br", "link", "hr"}


class Balanced(HTMLParser):
    """Checks that every element is closed, and gathers ids, tags with attributes, and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: set[str] = set()
        self.built: Counter[tuple[str, ...]] = Counter()
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_data(self, data) -> None:
        self.text += data

    def handle_comment(self, data) -> None:
        raise AssertionError(f"the page has no comments, but {data!r}")

    def handle_starttag(self, tag, attrs) -> None:
        told = dict(attrs)
        self.tags.add(tag)
        if tag != "mark":  # whose number depends on which faces their names' hashes draw
            self.built[tag, *sorted(told)] += 1
        self.ids += [told["id"]] if "id" in told else []
        self.addresses += [told[key] for key in ("src", "href") if key in told]
        assert not [key for key in told if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open if tag in VOID else self.open[:-1]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(write_page, judged, curated) -> str:
    return write_page(judged, curated)


def test_it_is_well_formed_and_every_link_leads_somewhere(page) -> None:
    found = Balanced(page)
    assert set(CONTENTS) <= set(found.ids)
    assert len(set(found.ids)) == len(found.ids)
    assert {one[1:] for one in found.addresses if one.startswith("#")} == set(CONTENTS)


def test_it_needs_neither_network_nor_script(page) -> None:
    found = Balanced(page)
    assert "script" not in found.tags
    assert all(one.startswith(("data:", "#")) for one in found.addresses)
    assert re.search(r"url\(|@import|https?://", page) is None


def test_captions_and_answers_with_markup_stay_text(page) -> None:
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 2


def test_a_browser_is_forbidden_scripts_and_network(page) -> None:
    found = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    assert found is not None
    assert page.index("<head>") < found.start() < page.index("<style>")
    rules = dict(rule.strip().split(" ", 1) for rule in found[1].split(";"))
    assert rules.pop("default-src") == "'none'"  # scripts, connections, fonts, frames and the rest
    assert rules.pop("img-src") == "data:"
    assert rules.pop("style-src") == "'unsafe-inline'"
    assert set(rules.values()) == {"'none'"}


# What strangers word

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</style></title></pre></svg></details><iframe src=//evil>",
    "&#x3c;script&#x3e;&lt;b&gt;&quot;",
    "<!--<![CDATA[<?php",
    "\u202egnp.exe\u2066\u2028",
    "a\x00b\x1b[2J\x9b\x7f\r",
    "{{7*7}} ${7*7} `x`",
    "x" * 100_000,
)


def poison(artifact: Artifact, tail: str) -> Artifact:
    """Return an artifact whose manifest tells a stranger's words where words are free."""
    changes = {"commit": f"c0ffee{tail}", "machine": f"Linux{tail}", "notes": {tail: tail}}
    changes |= {"packages": {f"torch{tail}": f"2.0{tail}"}}
    return Artifact(artifact.path, dict(artifact.manifest) | changes)


def word(one: Evaluation, tail: str) -> Evaluation:
    """Return an evaluation whose files tell a stranger's words."""
    training = dict(one.training) | {"curve": [p | {tail: tail} for p in one.training["curve"]]}
    responses = [
        told | {key: f"{told[key]}{tail}" for key in ("face_id", "judgment", "interpretation")}
        | {"reference": tail, "dataset": f"siw{tail}", "label": f"attack{tail}"}
        | {"pai_species": told["pai_species"] and told["pai_species"] + tail}
        for told in one.responses
    ]  # fmt: skip
    return replace(one, artifact=poison(one.artifact, tail), training=training, responses=responses)


@pytest.fixture(scope="module")
def page_of(tmp_path_factory, write_page, curate_world, results_of, unseal):
    """Return a function that renders a small run in which a stranger had words to say."""

    def write(tail: str) -> str:
        curated = curate_world(tmp_path_factory.mktemp("world"), tail=tail)
        names = ("full", "without-scf", "vitaf", "alpha-0.3", f"mine{tail}")
        places = [("protocol2", target) for target in ("siw", "wmca", f"other{tail}")]
        places += [(f"protocol1{tail}", "siw"), (f"protocol9{tail}", "siw")]
        judged = [
            unseal(
                [
                    results_of(
                        name, target=target, protocol=protocol, world=f"hard{tail}",
                        sources=(f"celeba_spoof{tail}",),
                        settings={"seed": 0, f"key{tail}": [tail, {"method": tail}]},
                        inputs={"model": f"train@{tail}", "shards": f"shard@{tail}"},
                    )
                ]
            )
            for name in names
            for protocol, target in places
        ]  # fmt: skip
        worded = [word(one, tail) for one in judged]
        return write_page(worded, [poison(one, tail) for one in curated])

    return write


@pytest.fixture(scope="module")
def harmless(page_of) -> Balanced:
    return Balanced(page_of(" x"))


@pytest.mark.parametrize("words", EVIL, ids=lambda words: ascii(words)[:20])
def test_no_word_of_a_stranger_adds_a_tag_or_an_attribute(page_of, harmless, words) -> None:
    found = Balanced(page_of(f" {words}"))
    assert found.built == harmless.built
    assert found.tags == harmless.tags
    assert all(one.startswith(("data:image/png;base64,", "#")) or one == "data:,"
               for one in found.addresses)  # fmt: skip
    assert visible(words)[:500] in found.text


def test_nothing_that_acts_is_left_in_the_page(page_of) -> None:
    page = page_of("".join(EVIL[:10]))
    assert {c for c in page if not c.isprintable()} <= {"\n"}


def test_a_page_stays_small_whatever_its_texts_hold(page_of) -> None:
    short, long, longer = (len(page_of("x" * number)) for number in (1, 100_000, 200_000))
    assert long < 100 * short
    assert longer == pytest.approx(long, rel=0.01)


def test_the_warning_stands_before_every_number(page) -> None:
    warning = page.index("Miniature numbers are not the paper")
    assert warning < page.index("<section")


def test_the_same_inputs_give_the_same_bytes(page, write_page, judged, curated) -> None:
    assert write_page(judged, curated) == page


def test_nothing_at_all_still_makes_a_page(write_page) -> None:
    page = write_page()
    assert set(CONTENTS) <= set(Balanced(page).ids)
    assert "<table>" not in page
    assert "<figure>" not in page
    assert page.count('class="absent"') >= 10


def test_wide_things_have_boxes_and_both_schemes_their_colours(page) -> None:
    assert page.count("<table>") == page.count('<div class="box" tabindex="0"><table>')
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in page


def test_every_colour_of_a_series_is_defined(page) -> None:
    used = set(re.findall(r'class="((?:line|fill|bar)\d)"', page))
    defined = set(re.findall(r"\.((?:line|fill|bar)\d)", page))
    assert used
    assert used <= defined
