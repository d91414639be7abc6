"""A dictionary file is read strictly: what is wrong is told with file, line and key."""

import pytest

from scf_pipeline.errors import ConfigError
from scf_pipeline.keywords.file import ConflictPolicy, Match, read_file

BAD = {
    "empty": ("", "must hold", ""),
    "a list": ("- paper\n", "must hold", ""),
    "a word": ("paper\n", "must hold", ""),
    "only null": ("~\n", "must hold", ""),
    "no YAML": ("keywords: [paper\n", "must be YAML", ":2"),
    "tab": ("keywords:\n\tprint: [paper]\n", "must be YAML", ":2"),
    "not UTF-8": (b"keywords:\n  print: [\xff]\n", "must be YAML", ""),
    "NUL": ("keywords:\n  print: ['a\0']\n", "must be YAML", ""),
    "two documents": ("keywords: {print: [a]}\n---\nkeywords: {}\n", "must be YAML", ":2"),
    "python object": ("keywords: !!python/object:os.system {}\n", "must be YAML", ":1"),
    "duplicate key": ("match: words\nkeywords: {print: [a]}\nmatch: words\n", "twice", ":3"),
    "duplicate table": ("keywords:\n  print: [a]\n  print: [b]\n", "twice", ":3"),
    "alias": ("keywords:\n  print: &a [x]\n  mask: *a\n", "aliases", ":2"),
    "alias bomb": (
        "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nkeywords: {print: *c}\n",
        "aliases",
        ":1",
    ),
    "deep nesting": ("keywords: " + "[" * 5_000, "must be YAML", ""),
    "too large": ("# " + "x" * 1_000_000, "at most", ""),
    "no keywords": ("match: words\n", "`keywords` must be given", ": keywords"),
    "no table": ("keywords: {}\n", "at least 1", ":1: keywords"),
    "empty table": ("keywords:\n  print: []\n", "at least 1", ":2: keywords.print"),
    "null table": ("match: words\nkeywords:\n  print:\n", "list", ":3: keywords.print"),
    "unknown key": ("keywords: {print: [a]}\nmatsh: words\n", "'matsh'", ":2: matsh"),
    "boolean key": ("keywords: {print: [a]}\nno: words\n", "should be strings", ""),
    "unknown species": ("keywords:\n  prnt: [a]\n", "'prnt'", ":2: keywords.prnt"),
    "boolean word": (
        "keywords:\n  print:\n    - a\n    - yes\n",
        "YAML reads True",
        ":4: keywords.print.1",
    ),
    "boolean species": ("keywords:\n  no: [a]\n", "must be one of print", ":1: keywords"),
    "boolean form": ("keywords: {print: [a]}\nforms: {on: [x]}\n", "YAML reads True", ":2: forms"),
    "null word": ("keywords:\n  print:\n    -\n", "YAML reads None", ":3: keywords.print.0"),
    "number": ("keywords:\n  print: [1]\n", "YAML reads 1", ":2: keywords.print.0"),
    "date": ("keywords:\n  print: [2020-01-01]\n", "YAML reads", ":2: keywords.print.0"),
    "empty word": ("keywords:\n  print: ['']\n", "at least 1 char", ":2: keywords.print.0"),
    "long word": (f"keywords:\n  print: [{'a' * 201}]\n", "at most 200", ":2: keywords.print.0"),
    "word for list": ("keywords:\n  print: paper\n", "list", ":2: keywords.print"),
    "table for list": ("keywords:\n  print: {a: b}\n", "list", ":2: keywords.print"),
    "a set": ("keywords:\n  print: !!set {a, b}\n", "tags", ":2"),
    "unknown match": ("match: regex\nkeywords: {print: [a]}\n", "words", ":1: match"),
    "unknown policy": ("conflict_policy: ask\nkeywords: {print: [a]}\n", "keep", ":1: conflict"),
    "boilerplate is a word": (
        "boilerplate: a photo of\nkeywords: {print: [a]}\n",
        "list",
        ":1: boilerplate",
    ),
    "unknown key of negation": (
        "keywords: {print: [a]}\nnegation:\n  words: [not]\n  reach: 3\n",
        "'negation.reach'",
        ":4: negation.reach",
    ),
    "negation without words": (
        "keywords: {print: [a]}\nnegation:\n  window: 3\n",
        "must be given",
        ":2: negation.words",
    ),
    "boolean negation": (
        "keywords: {print: [a]}\nnegation:\n  words:\n  - not\n  - no\n",
        "YAML reads False",
        ":5: negation.words.1",
    ),
    "window as text": (
        "keywords: {print: [a]}\nnegation: {words: [not], window: '3'}\n",
        "integer",
        ":2: negation.window",
    ),
    "window too wide": (
        "keywords: {print: [a]}\nnegation: {words: [not], window: 11}\n",
        "less than or equal to 10",
        ":2: negation.window",
    ),
    "forms are a word": ("keywords: {print: [a]}\nforms:\n  a: an\n", "list", ":3: forms.a"),
    "unknown key of an alias": (
        "keywords: {print: [a]}\naliases:\n  - fine_type: x\n    specie: print\n",
        "'aliases.0.specie'",
        ":4: aliases.0.specie",
    ),
    "alias of an unknown species": (
        "keywords: {print: [a]}\naliases:\n  - {fine_type: x, species: prnt, accepts: [print]}\n",
        "print",
        ":3: aliases.0.species",
    ),
    "alias that accepts nothing": (
        "keywords: {print: [a]}\naliases:\n  - {fine_type: x, species: print, accepts: []}\n",
        "at least 1",
        ":3: aliases.0.accepts",
    ),
}

GOOD = {
    "least": "keywords: {print: [paper]}\n",
    "JSON": '{"keywords": {"print": ["paper"]}}',
    "byte order mark": "\ufeffkeywords: {print: [paper]}\n",
    "Windows lines": "keywords:\r\n  print:\r\n    - paper\r\n",
    "quoted": "keywords: {print: ['no', \"yes\"]}\n",
    "comments": "# a\nkeywords: # b\n  print: # c\n    - paper # d\n",
    "flow and block": "keywords:\n  print: [paper,\n    card]\n  mask:\n  - mask\n",
    "every species": "keywords: {print: [a], replay: [b], mask: [c], mannequin: [d], makeup: [e]}",
    "all keys": """
match: words
conflict_policy: drop
keywords: {print: [paper], mask: [mask]}
boilerplate: [a photo of]
negation: {words: ["no"], window: 1}
forms: {paper: [papyrus]}
exclusions: [face mask]
aliases: [{fine_type: paper_mask, species: mask, accepts: [print]}]
""",
}


def write(folder, content):
    path = folder / "words.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(("content", "what", "where"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_with_what_and_where(content, what, where, tmp_path) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert what in caught.value.what
    assert f"{path}{where}" in caught.value.where
    assert caught.value.fix


@pytest.mark.parametrize("content", GOOD.values(), ids=GOOD)
def test_a_good_file_is_read(content, tmp_path) -> None:
    assert read_file(write(tmp_path, content)).keywords


def test_what_is_left_out_has_a_default(tmp_path) -> None:
    file = read_file(write(tmp_path, GOOD["least"]))
    assert (file.match, file.conflict_policy) == (Match.WORDS, ConflictPolicy.KEEP)
    assert file.negation is None
    assert [*file.boilerplate, *file.forms, *file.exclusions, *file.aliases] == []


def test_all_keys_are_read(tmp_path) -> None:
    file = read_file(write(tmp_path, GOOD["all keys"]))
    assert file.conflict_policy is ConflictPolicy.DROP
    assert file.negation is not None
    assert (file.negation.words, file.negation.window) == (["no"], 1)
    assert file.forms == {"paper": ["papyrus"]}
    assert file.aliases[0].accepts == ["print"]


@pytest.mark.parametrize(
    ("content", "near"),
    [
        ("keywords: {print: [a]}\nconflict_polcy: keep\n", "conflict_policy"),
        ("keywords: {print: [a]}\nnegation: {words: [not], windows: 1}\n", "window"),
        ("keywords: {print: [a]}\naliases: [{finetype: x}]\n", "fine_type"),
    ],
)
def test_an_unknown_key_is_answered_with_the_nearest(content, near, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_file(write(tmp_path, content))
    assert caught.value.fix == f"Did you mean {near}?"


def test_an_unknown_species_is_answered_with_the_nearest(tmp_path) -> None:
    with pytest.raises(ConfigError, match="Did you mean mannequin"):
        read_file(write(tmp_path, "keywords:\n  manequin: [a]\n"))
