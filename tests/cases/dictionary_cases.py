"""Dictionary files, good and bad: what each means, or how it is refused.

Tests of the loader, the chaos suite's command and the fuzzer share them.
"""

from itertools import pairwise, product

from ifas_model.vocabulary import PaiSpecies
from scf_pipeline.keywords.rules import MAX_PHRASES

Refused = dict[str, tuple[str | bytes, str, str]]

SPECIES = [species.value for species in PaiSpecies]
HEAD = "keywords:\n  print:\n    - paper\n"

ALL_KEYS = """
match: words
conflict_policy: drop
keywords: {print: [paper], mask: [mask]}
boilerplate: [a photo of]
negation: {words: ["no"], window: 1}
forms: {paper: [papyrus]}
exclusions: [face mask]
aliases: [{fine_type: paper_mask, species: mask, accepts: [print]}]
"""

READABLE: dict[str, tuple[str | bytes, dict[str, list[str]]]] = {
    "least": ("keywords: {print: [paper]}\n", {"print": ["paper"]}),
    "JSON": ('{"keywords": {"print": ["paper"]}}', {"print": ["paper"]}),
    "byte order mark": ("\ufeffkeywords: {print: [paper]}\n", {"print": ["paper"]}),
    "no last line end": ("keywords:\n  print:\n    - paper", {"print": ["paper"]}),
    "Windows lines": ("keywords:\r\n  print:\r\n    - paper\r\n", {"print": ["paper"]}),
    "old Macintosh lines": ("keywords:\r  print:\r    - paper\r", {"print": ["paper"]}),
    "one document": ("%YAML 1.1\n---\nkeywords: {print: [paper]}\n...\n", {"print": ["paper"]}),
    "quoted": ("keywords: {print: ['no', \"yes\"]}\n", {"print": ["no", "yes"]}),
    "escaped": ('keywords: {print: ["\\x70aper"]}\n', {"print": ["paper"]}),
    "comments": (
        "# a\nkeywords: # b\n  print: # c\n    - paper # d\n",
        {"print": ["paper"]},
    ),
    "flow and block": (
        "keywords:\n  print: [paper,\n    card]\n  mask:\n  - mask\n",
        {"print": ["paper", "card"], "mask": ["mask"]},
    ),
    "entries over lines": (
        "keywords:\n  print:\n  - |\n    paper\n    cup\n  - >-\n    a\n    card\n",
        {"print": ["paper cup", "a card"]},
    ),
    "spaces around": ("keywords: {print: [' paper  cup ']}\n", {"print": ["paper cup"]}),
    "digits": ("keywords: {print: [a4, 4k, '2']}\n", {"print": ["a4", "4k", "2"]}),
    "no numbers to YAML": ("keywords: {print: [1e3, 0o7, y]}\n", {"print": ["1e3", "0o7", "y"]}),
    "other scripts": (
        "keywords: {mask: [\u043c\u0430\u0441\u043a\u0430, \u9762\u5177]}\n",
        {"mask": ["\u043c\u0430\u0441\u043a\u0430", "\u9762\u5177"]},
    ),
    "choices and options": (
        "keywords: {print: ['(a|b c) [d] e']}\n",
        {"print": ["a e", "b c e"]},
    ),
    "longest entry": (f"keywords: {{print: [{'a' * 200}]}}\n", {"print": ["a" * 200]}),
    "a thousand keywords in an entry": (
        "keywords: {print: ['" + "(a|b) " * 10 + "']}\n",
        {"print": [" ".join(words) for words in product("ab", repeat=10)]},
    ),
    "no negation": ("keywords: {print: [a]}\nnegation: ~\n", {"print": ["a"]}),
    "empty lists": (
        "keywords: {print: [a]}\nboilerplate: []\nnegation: {words: []}\nforms: {a: []}\n"
        "exclusions: []\naliases: []\n",
        {"print": ["a"]},
    ),
    "boilerplate that is a keyword": (
        "keywords: {print: [a photo of]}\nboilerplate: [a photo of]\n",
        {"print": ["a photo of"]},
    ),
    "form of itself": ("keywords: {print: [a]}\nforms: {a: [a]}\n", {"print": ["a"]}),
    "much said": ("keywords: {print: [a]}\n" + "# x\n" * 20_000, {"print": ["a"]}),
    "substring": ("match: substring\nkeywords: {print: [a b]}\n", {"print": ["a b"]}),
    "every species": (
        "keywords: {print: [a], replay: [b], mask: [c], mannequin: [d], makeup: [e], partial: [f]}",
        {s: [w] for s, w in zip(SPECIES, "abcdef", strict=True)},
    ),
    "all keys": (ALL_KEYS, {"print": ["paper"], "mask": ["mask"]}),
}
"""Files that load: content, and the keywords that they stand for."""

MALFORMED: Refused = {
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
    "UTF-16": ("keywords: {print: [paper]}\n".encode("utf-16"), "can't decode", ""),
    "UTF-16 without a mark": ("keywords: {}\n".encode("utf-16-le"), "must be YAML", ""),
    "Latin-1": ("keywords: {print: [caf\u00e9]}\n".encode("latin-1"), "can't decode", ""),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0", "can't decode", ""),
    "a bell": ("keywords: {print: [\a]}\n", "special characters are not allowed", ""),
    "half a pair": ('match: words\nkeywords: {print: ["\\ud83d"]}\n', "lone surrogates", ":2"),
    "no such sign": ('keywords: {print: ["\\Uffffffff"]}\n', "too large to convert", ""),
    "unknown escape": ('keywords: {print: ["\\q"]}\n', "unknown escape character", ":1"),
    "open quote": ('keywords:\n  print: ["paper]\n', "unexpected end", ":3"),
    "open braces": ("keywords: {print: [paper]\n", "expected ',' or '}'", ":2"),
    "crooked lines": ("keywords:\n  print: [a]\n   mask: [b]\n", "must be YAML", ":3"),
    "only comments": ("# keywords:\n#   print: [paper]\n", "must hold", ""),
    "only a mark": ("---\n", "must hold", ""),
    "a text that names a file": ("spoof_aware.yaml\n", "must hold", ""),
    "deep braces": ("keywords: " + "{a: " * 60, "deeper than 50 levels", ":1"),
    "deep lists": ("keywords:\n" + "- " * 400 + "a\n", "deeper than 50 levels", ":2"),
    "anchor that nobody uses": ("keywords: &a {print: [x]}\n", "anchors", ":1"),
    "nine lines of laughter": (
        "a: &a [lol, lol]\n"
        + "".join(f"{y}: &{y} [{', '.join([f'*{x}'] * 9)}]\n" for x, y in pairwise("abcdefghi"))
        + "keywords: {print: *i}\n",
        "aliases",
        ":1",
    ),
    "merge of another table": (
        "keywords: {print: [a]}\nnegation: {<<: {words: [not]}}\n",
        "merge keys",
        ":2",
    ),
    "merge of an anchor": ("x: &x {print: [a]}\nkeywords: {<<: *x}\n", "anchors", ":1"),
    "python name": ("keywords: !!python/name:os.system\n", "tags", ":1"),
    "tag of ours": ("keywords:\n  print: !words [a]\n", "tags", ":2"),
    "text by tag": ("keywords: {print: [!!str no]}\n", "tags", ":1"),
    "bytes by tag": ("keywords: {print: [!!binary cGFwZXI=]}\n", "tags", ":1"),
    "key of two lines": ('keywords: {print: [a]}\n"a\\nb": x\n', r"'a\nb'", ":2: a\nb"),
    "key that colors": ('keywords: {print: [a]}\n"\\e[31m": x\n', r"'\x1b[31m'", ":2: \x1b["),
    "key twice in two spellings": ('match: words\n"match": words\n', "twice", ":2"),
    "form twice": ("keywords: {print: [a]}\nforms: {a: [b], a: [c]}\n", "twice", ":2"),
    "key of several values": ("? [keywords]\n: {print: [a]}\n", "no single value", ":1"),
    "key of a table": ("? {keywords: print}\n: [a]\n", "no single value", ":1"),
    "number as key": ("keywords: {print: [a]}\n1: x\n", "should be strings", ""),
    "nothing as key": ("keywords: {print: [a]}\n~: x\n", "should be strings", ""),
    "key in capitals": ("Keywords: {print: [a]}\n", "'Keywords'", ":1: Keywords"),
    "species in capitals": ("keywords: {Print: [a]}\n", "'Print'. Did you", ":1: keywords.Print"),
    "bona fide words": ("keywords: {bona_fide: [man]}\n", "'bona_fide'", ":1: keywords.bona_fide"),
    "null tables": ("keywords: ~\n", "dictionary", ":1: keywords"),
    "null boilerplate": ("keywords: {print: [a]}\nboilerplate:\n", "list", ":2: boilerplate"),
    "null forms": ("keywords: {print: [a]}\nforms: {a: }\n", "list", ":2: forms.a"),
    "hexadecimal word": ("keywords: {print: [0xff]}\n", "YAML reads 255", ":1: keywords.print.0"),
    "octal word": ("keywords: {print: [010]}\n", "YAML reads 8", ":1: keywords.print.0"),
    "time as word": ("keywords: {print: [12:30]}\n", "YAML reads 750", ":1: keywords.print.0"),
    "no number as word": ("keywords: {print: [.nan]}\n", "YAML reads nan", ":1: keywords.print.0"),
    "no day": ("keywords:\n  print:\n  - 2025-02-30\n", "day is out of range", ":3"),
    "endless number": ("keywords: {print: [0x" + "f" * 9999 + "]}\n", "longer than 100", ":1"),
    "endless window": (
        "keywords: {print: [a]}\nnegation: {words: [not], window: 0x" + "f" * 9999 + "}\n",
        "longer than 100",
        ":2",
    ),
    "endless time": ("keywords: {print: [1" + ":1" * 999 + ".5]}\n", "longer than 100", ":1"),
    "null among words": (
        "keywords: {print: [a, null]}\n",
        "YAML reads None",
        ":1: keywords.print.1",
    ),
    "list in a list": ("keywords: {print: [[a]]}\n", "YAML reads ['a']", ":1: keywords.print.0"),
    "table in a list": ("keywords: {print: [{a: b}]}\n", "YAML reads {'a'", ":1: keywords.print.0"),
    "colon in a word": ("keywords: {print: [paper: cup]}\n", "YAML reads", ":1: keywords.print.0"),
    "match in capitals": ("match: WORDS\nkeywords: {print: [a]}\n", "'words'", ":1: match"),
    "policy by no": ("conflict_policy: no\nkeywords: {print: [a]}\n", "False", ":1: conflict"),
    "window of nothing": (
        "keywords: {print: [a]}\nnegation: {words: [not], window: 0}\n",
        "greater than or equal to 1",
        ":2: negation.window",
    ),
    "window of half a word": (
        "keywords: {print: [a]}\nnegation: {words: [not], window: 2.5}\n",
        "integer",
        ":2: negation.window",
    ),
    "window by yes": (
        "keywords: {print: [a]}\nnegation: {words: [not], window: yes}\n",
        "integer",
        ":2: negation.window",
    ),
    "negation is a word": ("keywords: {print: [a]}\nnegation: not\n", "Negation", ":2: negation"),
    "forms are a list": ("keywords: {print: [a]}\nforms: [a]\n", "dictionary", ":2: forms"),
    "form of no name": ("keywords: {print: [a]}\nforms: {'': [x]}\n", "at least 1", ":2: forms"),
    "aliases are a table": ("keywords: {print: [a]}\naliases: {}\n", "list", ":2: aliases"),
    "alias without its species": (
        "keywords: {print: [a]}\naliases: [{fine_type: x, accepts: [print]}]\n",
        "must be given",
        ":2: aliases.0.species",
    ),
    "alias of no fine type": (
        "keywords: {print: [a]}\naliases: [{fine_type: '', species: print, accepts: [print]}]\n",
        "at least 1",
        ":2: aliases.0.fine_type",
    ),
}
"""Files that are no YAML or hold a wrong key or type: content, and what is said of what and where.

Where there is a line, it stands after the path.
"""

INCONSISTENT: Refused = {
    "upper case": (f"{HEAD}    - Paper\n", "lower-case", ":4: keywords.print.1"),
    "hyphen": (f"{HEAD}    - cell-phone\n", "lower-case", ":4: keywords.print.1"),
    "underscore": (f"{HEAD}    - cell_phone\n", "lower-case", ":4: keywords.print.1"),
    "punctuation": (f"{HEAD}    - paper.\n", "lower-case", ":4: keywords.print.1"),
    "apostrophe": (f'{HEAD}    - "man\'s"\n', "lower-case", ":4: keywords.print.1"),
    "not in normal form": (f"{HEAD}    - \uff50\n", "lower-case", ":4: keywords.print.1"),
    "blank": (f"{HEAD}    - ' '\n", "must be words", ":4: keywords.print.1"),
    "open bracket": (f"{HEAD}    - (a|b\n", "must be words", ":4: keywords.print.1"),
    "empty choice": (f"{HEAD}    - (a| ) b\n", "must be words", ":4: keywords.print.1"),
    "stray bar": (f"{HEAD}    - a | b\n", "must be words", ":4: keywords.print.1"),
    "nested": (f"{HEAD}    - (a|(b|c))\n", "must be words", ":4: keywords.print.1"),
    "only an option": (f"{HEAD}    - '[a]'\n", "must be words", ":4: keywords.print.1"),
    "twice in a table": (f"{HEAD}    - paper\n", "words.yaml:3: ", ":4: keywords.print.1"),
    "twice in an entry": (f"{HEAD}    - (a|a)\n", "words.yaml:4: ", ":4: keywords.print.1"),
    "in two tables": (f"{HEAD}  mask: [paper]\n", "words.yaml:3: ", ":4: keywords.mask.0"),
    "joined and apart": (
        f"{HEAD}    - cell phone\n    - cellphone\n",
        "words.yaml:4: ",
        ":5: keywords.print.2",
    ),
    "keyword excluded": (f"{HEAD}exclusions: [paper]\n", "words.yaml:3: ", ":4: exclusions.0"),
    "exclusion twice": (
        f"{HEAD}exclusions:\n  - a b\n  - a b\n",
        "words.yaml:5: ",
        ":6: exclusions.1",
    ),
    "forms of nothing": (f"{HEAD}forms:\n  papr: [x]\n", "'papr' does not", ":5: forms.papr"),
    "form of two words": (
        f"{HEAD}    - card\nforms:\n  paper: [x]\n  card: [x]\n",
        "'x' is of 'paper' too",
        ":7: forms.card.0",
    ),
    "form that is a word": (
        f"{HEAD}    - card\nforms:\n  paper: [card]\n",
        "'card' is of 'card' too",
        ":6: forms.paper.0",
    ),
    "form in upper case": (f"{HEAD}forms:\n  paper: [X]\n", "lower-case", ":5: forms.paper.0"),
    "negation that is a word": (
        f"{HEAD}negation: {{words: [paper]}}\n",
        "'paper' is",
        ":4: negation.words.0",
    ),
    "negation of two words": (
        f"{HEAD}negation: {{words: [no more]}}\n",
        "lower-case",
        ":4: negation.words.0",
    ),
    "alias without a table": (
        f"{HEAD}aliases:\n  - {{fine_type: x, species: mask, accepts: [print]}}\n",
        "mask has none",
        ":5: aliases.0",
    ),
    "rules for words in a substring file": (
        f"match: substring\n{HEAD}exclusions: [x]\n",
        "`exclusions` must be absent",
        ":5: exclusions",
    ),
    "too many choices": (
        f"{HEAD}    - " + "(a|b|c|d|e|f|g|h) " * 6 + "\n",
        f"at most {MAX_PHRASES}",
        ":4: keywords.print.1",
    ),
    "too many spellings": (
        f"{HEAD}    - a a a a a a\nforms: {{a: [{', '.join(f'b c{n}' for n in range(9))}]}}\n",
        f"at most {MAX_PHRASES}",
        ":4: keywords.print.1",
    ),
    "too many phrases": (
        "keywords:\n  print:\n"
        + "".join(
            f"    - ({'|'.join(f'{letter}{n}' for n in range(30))}) a\n" for letter in "bcdefg"
        )
        + "".join(f"    - x{n} [{'|'.join(f'y{m}' for m in range(45))}] z\n" for n in range(450)),
        f"at most {MAX_PHRASES}",
        "keywords.print",
    ),
    "in German capitals": (f"{HEAD}    - stra\u00dfe\n", "lower-case", ":4: keywords.print.1"),
    "emoji": (f"{HEAD}    - \U0001f4c4\n", "lower-case", ":4: keywords.print.1"),
    "space of no width": (f"{HEAD}    - pa\u200bper\n", "lower-case", ":4: keywords.print.1"),
    "combining accent": (f"{HEAD}    - q\u0301\n", "lower-case", ":4: keywords.print.1"),
    "any sign": (f"{HEAD}    - pap.r\n", "lower-case", ":4: keywords.print.1"),
    "any number of signs": (f"{HEAD}    - 'a*'\n", "lower-case", ":4: keywords.print.1"),
    "beginning and end": (f"{HEAD}    - ^paper$\n", "lower-case", ":4: keywords.print.1"),
    "class of signs": (f"{HEAD}    - \\w+\n", "lower-case", ":4: keywords.print.1"),
    "look ahead": (f"{HEAD}    - a(?=b)\n", "lower-case", ":4: keywords.print.1"),
    "endless expression": (f"{HEAD}    - (a+)+\n", "lower-case", ":4: keywords.print.1"),
    "closing bracket": (f"{HEAD}    - a) b\n", "must be words", ":4: keywords.print.1"),
    "closing option": (f"{HEAD}    - 'a] b'\n", "must be words", ":4: keywords.print.1"),
    "crossed brackets": (f"{HEAD}    - (a [b) c]\n", "must be words", ":4: keywords.print.1"),
    "empty brackets": (f"{HEAD}    - () a\n", "must be words", ":4: keywords.print.1"),
    "empty option": (f"{HEAD}    - a [] b\n", "must be words", ":4: keywords.print.1"),
    "option in an option": (f"{HEAD}    - a [b [c]]\n", "must be words", ":4: keywords.print.1"),
    "only bars": (f"{HEAD}    - '||'\n", "must be words", ":4: keywords.print.1"),
    "form of no word": (f"{HEAD}forms:\n  paper: [' ']\n", "lower-case", ":5: forms.paper.0"),
    "form in brackets": (f"{HEAD}forms: {{paper: ['(a|b)']}}\n", "lower-case", ": forms.paper.0"),
    "negation in capitals": (
        f"{HEAD}negation: {{words: [Not]}}\n",
        "lower-case",
        ":4: negation.words.0",
    ),
    "negation that is a form": (
        f"{HEAD}forms: {{paper: [sheet]}}\nnegation: {{words: [sheet]}}\n",
        "'sheet' is",
        ":5: negation.words.0",
    ),
    "negation that is a plural": (
        f"{HEAD}negation: {{words: [papers]}}\n",
        "'papers' is",
        ":4: negation.words.0",
    ),
    "negation of a sign": (f"{HEAD}negation: {{words: ['-']}}\n", "lower-case", ": negation.words"),
    "alias that accepts a species without a table": (
        f"{HEAD}aliases:\n  - {{fine_type: x, species: print, accepts: [makeup]}}\n",
        "makeup has none",
        ":5: aliases.0",
    ),
    "boilerplate in a substring file": (
        f"match: substring\n{HEAD}boilerplate: [a photo of]\n",
        "`boilerplate` must be absent",
        ":5: boilerplate",
    ),
    "negation in a substring file": (
        f"match: substring\n{HEAD}negation: {{words: [not]}}\n",
        "`negation` must be absent",
        ":5: negation",
    ),
    "forms in a substring file": (
        f"match: substring\n{HEAD}forms: {{paper: [papers]}}\n",
        "`forms` must be absent",
        ":5: forms",
    ),
    "twos of twos": (
        f"{HEAD}    - {'(a|b) ' * 33}\n",
        f"at most {MAX_PHRASES}",
        ":4: keywords.print.1",
    ),
    "options of options": (
        f"{HEAD}    - '{'[a|b] ' * 30} c'\n",
        f"at most {MAX_PHRASES}",
        ":4: keywords.print.1",
    ),
    "many entries that are one": (
        f"{HEAD}exclusions:\n" + "".join(f"  - x{n} {'[a|a|a] ' * 6}\n" for n in range(9)),
        f"at most {MAX_PHRASES}",
        ":9: exclusions.4",
    ),
    "much boilerplate": (
        f"{HEAD}boilerplate:\n" + "".join(f"  - x{n} {'(a|b) ' * 13}\n" for n in range(9)),
        f"at most {MAX_PHRASES}",
        ":7: boilerplate.2",
    ),
}
"""Files whose entries say nothing, or too much, or contradict each other."""


def encoded(content: str | bytes) -> bytes:
    """Return a file's content as it lies on a disk."""
    return content if isinstance(content, bytes) else content.encode()
