"""``datasets.yaml``: where each dataset lies on this machine, one ``name: root`` a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from ifas_model import plugins
from ifas_model.strict import locate, read_yaml
from scf_pipeline import adapters
from scf_pipeline.adapters import Adapter
from scf_pipeline.errors import ConfigError


def read_roots(file: Path) -> dict[str, Path]:
    """Return the root of each dataset that the file names; relative ones start at the file.

    Raises:
        ConfigError: If the file is no YAML mapping of known datasets to paths.
    """
    roots = {}
    for name, root in read_yaml(file).items():
        where = locate(file, [name])
        known_adapter(str(name), where=where)
        try:
            roots[str(name)] = _resolve(root, file.parent)
        except (ValueError, RuntimeError) as error:  # a null character, an unknown user's home
            raise ConfigError(
                f"A dataset's root must be a path, but is {root!r}: {error}.",
                where=where,
                fix="Write `name: path/to/the/dataset`.",
            ) from error
    return roots


def select_roots(
    roots: Mapping[str, Path], datasets: Iterable[str], *, where: str
) -> dict[str, Path]:
    """Return the roots of the datasets asked for.

    Raises:
        ConfigError: If a dataset has no adapter, or no root, or a root that is no folder.
    """
    wanted = list(datasets)
    for name in wanted:
        known_adapter(name, where=where)
    absent = [name for name in wanted if name not in roots]
    if absent:
        raise ConfigError(
            f"Every dataset must have a root, but {', '.join(absent)} has none.",
            where=where,
            fix=f"Add a line `{absent[0]}: path/to/its/root`.",
        )
    lost = [f"{name}: {roots[name]}" for name in wanted if not roots[name].is_dir()]
    if lost:
        raise ConfigError(
            f"A dataset's root must be a folder, but there is none at {'; '.join(lost)}.",
            where=where,
            fix="Correct the path.",
        )
    return {name: roots[name] for name in wanted}


def known_adapter(name: str, *, where: str) -> Adapter:
    """Return the adapter of a dataset.

    Raises:
        ConfigError: If there is none of that name; the message names the nearest.
    """
    known = plugins.names(adapters)
    if name not in known:
        near = get_close_matches(name, known, n=3, cutoff=0.4) or known
        raise ConfigError(
            f"A dataset must be one that has an adapter, but is {name!r}.",
            where=where,
            fix=f"Did you mean {', '.join(near)}? `scf datasets` lists all.",
        )
    adapter: Adapter = plugins.load(adapters, "ADAPTER", name)
    return adapter


def _resolve(root: object, start: Path) -> Path:
    if not isinstance(root, str) or not root:
        raise ValueError("it is no text")
    return (start / Path(root).expanduser()).resolve()
