"""What is no plain file, or has a strange name, each with what must become of it."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

from hostile import (
    DRAWN,
    ENCODED,
    JPEG,
    MISSING,
    NO_FRAME,
    PASSED_OVER,
    PNG,
    UNREADABLE,
    Case,
    seen,
)

# What is no file, or no longer one


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def link_to_outside(path: Path) -> None:
    """Link to a picture beside the dataset: its owner may keep media wherever there is room."""
    outside = path.parents[4] / "elsewhere.png"
    outside.write_bytes(PNG)
    path.symlink_to(outside)


def folder_of_a_picture(path: Path) -> None:
    path.mkdir()
    (path / "inside.png").write_bytes(PNG)


def write_sparse(path: Path) -> None:
    """Write a picture, and eight gigabytes of nothing after it."""
    path.write_bytes(ENCODED["bmp"])
    os.truncate(path, 2**33)


def replace_by_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS = {
    "a folder of no picture": Case("a.jpg", Path.mkdir, PASSED_OVER),
    "a folder of a picture": Case("a.jpg", folder_of_a_picture, seen(DRAWN)),
    "a link to nowhere": Case("a.jpg", link("nowhere.jpg"), MISSING),
    "a link to itself": Case("a.jpg", link("a.jpg"), MISSING),
    "a link to a picture outside": Case("a.png", link_to_outside, seen(DRAWN)),
    "a link to the folder above": Case("a.jpg", link(".."), PASSED_OVER),
    "a link to endless zeros": Case("a.jpg", link("/dev/zero"), UNREADABLE),
    "a link to what is typed": Case("a.jpg", link("/dev/stdin"), UNREADABLE),
    "a link to memory": Case("a.jpg", link("/proc/self/mem"), UNREADABLE),
    "a pipe": Case("a.jpg", os.mkfifo, UNREADABLE),
    "a socket": Case("a.jpg", lambda path: os.mknod(path, stat.S_IFSOCK | 0o600), UNREADABLE),
    "eight gigabytes": Case("a.bmp", write_sparse, UNREADABLE),
    "gone after it was listed": Case("a.jpg", JPEG, MISSING, Path.unlink),
    "a folder after it was listed": Case("a.jpg", JPEG, NO_FRAME, replace_by_folder),
}
if os.geteuid():  # the superuser may read everything
    KINDS["a file that nobody may read"] = Case(
        "a.png", PNG, UNREADABLE, lambda path: path.chmod(0)
    )

# Names

NAMES = {
    "name of spaces": "  a  b  .png",
    "name of quotes": "a'b\"c`d.png",
    "name of a shell": "$(touch x);rm -rf ~ & .png",
    "name of a format": "%s%n{0}{a.__class__}%2e%2e.png",
    "name of an anchor": "a#1?b=c&d.png",
    "name of an id": "a#0#0.png",
    "name of two lines": "a\nb.png",
    "name of controls": "\x1b[31ma\r\x7f\t.png",
    "name of one character": "é.png",
    "name of two characters": "e\u0301.png",
    "name from right to left": "\u202egpj.a\u200b\U0001f600.png",
    "name of an option": "-rf.png",
    "name of 250 bytes": "a" * 246 + ".png",
    "name of an address": "http:example.com.png",
    "name of a protocol": "concat:a|b.png",
    "name of a file's address": "file:a.png",
    "name of data": "data:image,png;base64,.png",
    "name of a drive": "C:\\con.png",
    "name of a pattern": "*?[a].png",
    "name of dots": "a..b...png",
    "name of capitals": "A.PNG",
}
SPELLED = {title: Case(name, PNG, seen(DRAWN)) for title, name in NAMES.items()} | {
    "name of a hidden file": Case(".a.png", PNG, PASSED_OVER),
    "name that ends in a space": Case("a.png ", PNG, PASSED_OVER),
    "name of a suffix": Case(".png", PNG, PASSED_OVER),
}
