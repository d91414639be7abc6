"""`ifas`: parse, delegate, report. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ifas_model.errors import ConfigError, ModelError, ScfError
from ifas_model.text import make_warnings_visible, visible

if TYPE_CHECKING:
    from ifas_model.config import TrainConfig
    from ifas_model.results import Result
    from ifas_model.run_folder import RunFolder

app = typer.Typer(
    help="Train I-FAS on VQA shards, and judge faces with it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
stderr = Console(stderr=True, soft_wrap=True, emoji=False)

TRAINING, RESULTS = "training.json", "results.json"

Shards = Annotated[Path, typer.Argument(help="Shard folder, as `scf shard` writes it.")]
Model = Annotated[Path, typer.Argument(help="Model folder, as `ifas train` writes it.")]
Out = Annotated[Path, typer.Option(help="Folder to write to.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.")]
Features = Annotated[
    Path | None, typer.Option(help="Folder that keeps the frozen tower's features.")
]


@app.command("train")
def train_(
    shards: Shards,
    out: Out,
    tower: Annotated[Path, typer.Option(help="CLIP folder in the Hugging Face layout.")],
    language: Annotated[
        Path | None, typer.Option(help="OPT folder with its tokenizer; I-FAS needs it.")
    ] = None,
    config: ConfigFile = None,
    features: Features = None,
) -> None:
    """Train a model: shards -> weights. A killed run goes on when the command is given again.

    Example: ifas train runs/shards --out runs/model --tower models/clip --language models/opt
    """
    with expected_errors():
        from ifas_model.config import TrainConfig

        made = build(TrainConfig, config)
        check_protocol(made, config)
        require_checkpoint(tower, "--tower", fix="Name a folder that holds a CLIP checkpoint.")
        if language is not None or made.method.method == "ifas":
            fix = "Name a folder that holds an OPT checkpoint and its tokenizer."
            require_checkpoint(language, "--language", fix=fix)
        checkpoints = {"tower": tower} | ({"language": language} if language else {})
        folder = run_folder(made, out, TRAINING, shards=shards, checkpoints=checkpoints)
        if not folder.is_done:
            teach(made, folder, shards=shards, cache=features, checkpoints=checkpoints)
        say(folder.read(to_summary))
        typer.echo(out)


@app.command("evaluate")
def evaluate_(
    model: Model,
    shards: Shards,
    out: Out,
    config: ConfigFile = None,
    features: Features = None,
    tower: Annotated[
        Path | None, typer.Option(help="CLIP folder of the model; --features needs it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")] = False,
) -> None:
    """Judge the targets of the model's protocol: weights + shards -> results.json.

    Example: ifas evaluate runs/model runs/shards --out runs/evaluation
    """
    with expected_errors():
        from ifas_model import results
        from ifas_model.config import EvaluateConfig

        made = build(EvaluateConfig, config)
        require_model(model)
        if features is not None:
            fix = "Name the folder that `ifas train` was given, or leave out --features."
            require_checkpoint(tower, "--tower", fix=fix)
        folder = run_folder(made, out, RESULTS, shards=shards, checkpoints={"model": model})
        if not folder.is_done:
            from ifas_model.evaluate import evaluate

            place, kept = folder.work("made"), None
            if features is not None and tower is not None:
                from ifas_model.evaluate import keep_features

                kept = keep_features(model, tower=tower, shards=shards, cache=features)
            evaluate(made, model=model, shards=shards, out=place, features=kept)
            folder.finish(place)
        found = folder.read(results.load)
        say(to_text(found))
        typer.echo(json.dumps([one.to_dict() for one in found]) if as_json else folder.outcome)


@app.command("predict")
def predict_(
    model: Model,
    images: Annotated[list[Path], typer.Argument(help="Face crops.")],
) -> None:
    """Judge face crops: one JSON line for each, in their order.

    Example: ifas predict runs/model face.png
    """
    with expected_errors():
        require_model(model)
        from ifas_model.predict import predict

        unreadable = []
        for line in predict(model, images):
            typer.echo(json.dumps(line))
            unreadable += [line["path"]] if "error" in line else []
        if unreadable:
            raise ScfError(
                f"Images must be readable, but {len(unreadable)} of {len(images)} are not.",
                where=", ".join(unreadable[:5]) + (", ..." if unreadable[5:] else ""),
                fix="Replace them; the other judgments stand.",
            )


def teach(
    config: TrainConfig,
    folder: RunFolder,
    *,
    shards: Path,
    cache: Path | None,
    checkpoints: dict[str, Path],
) -> None:
    """Train in the scratch of a run folder, then move the weights out of it."""
    from ifas_model.train import train

    tower, place, kept = checkpoints["tower"], folder.work("made"), None
    if cache is not None and config.method.method == "ifas":
        from ifas_model.features import cached, features_of
        from ifas_model.protocols import parts_of

        wanted = features_of(config.method, parts_of(config), flip=config.flip)
        kept = cached(wanted, tower=tower, shards=[shards], cache=cache).folder
    done = train(
        config,
        shards=shards,
        tower=tower,
        language=checkpoints.get("language"),
        out=place,
        scratch=folder.work("checkpoints"),
        features=kept,
        logs=folder.path / "logs",
    )
    (place / TRAINING).write_text(json.dumps(done), encoding="utf-8")
    folder.finish(place)


def build(kind: Any, file: Path | None) -> Any:  # noqa: ANN401 - any config
    """Build a config from its YAML file, or the defaults."""
    from ifas_model import strict

    return strict.build(kind, strict.read_yaml(file) if file else {}, where=file or "the defaults")


def check_protocol(config: TrainConfig, file: Path | None) -> None:
    """Refuse a protocol or target that is not known, before anything is made.

    Raises:
        ConfigError: With the place in the settings file.
    """
    from ifas_model.protocols import protocol_of
    from ifas_model.strict import locate

    try:
        protocol_of(config)
    except ValueError as error:
        field = "target" if "`target`" in str(error) else "protocol"
        raise ConfigError(
            str(error), where=locate(file or "the defaults", [field]), fix=f"Correct `{field}`."
        ) from error


def require_checkpoint(folder: Path | None, option: str, *, fix: str) -> None:
    """Refuse what is no checkpoint folder.

    Raises:
        ModelError: If nothing is named, or a folder without a ``config.json``.
    """
    if folder is None or not (folder / "config.json").is_file():
        found = "is absent" if folder is None else f"{folder} holds none"
        raise ModelError(
            f"`{option}` must name a folder with a config.json, but {found}.",
            where=option,
            fix=fix,
        )


def require_model(folder: Path) -> None:
    """Refuse what is no trained model, or one whose training was not finished."""
    fix = "Point at the folder that `ifas train` printed; an unfinished one goes on when it is run."
    require_checkpoint(folder, "MODEL", fix=fix)


def run_folder(
    config: Any,  # noqa: ANN401 - any config
    out: Path,
    outcome: str,
    *,
    shards: Path,
    checkpoints: dict[str, Path],
) -> RunFolder:
    """Return the folder of a run of these settings on the content of these inputs."""
    from pydantic import TypeAdapter

    from ifas_model.features import hash_shards, hash_tower
    from ifas_model.run_folder import RunFolder
    from ifas_model.shards import shard_files

    shard_files(shards)  # refuses a folder of another kind
    settings = {
        "stage": config.stage,
        "version": config.version,
        "config": TypeAdapter(type(config)).dump_python(config, mode="json"),
        "inputs": {name: hash_tower(folder) for name, folder in checkpoints.items()}
        | {"shards": hash_shards(shards)},
    }
    return RunFolder(out, outcome=outcome, settings=settings)


def to_summary(file: Path) -> str:
    """Return the closing line of a training run, from its ``training.json``."""
    from ifas_model import json_data

    done = json_data.read(file)
    return f"train: {done['samples']} samples, {done['steps']} steps, {done['seconds']:.0f} s"


def to_text(results: Sequence[Result]) -> str:
    """Return AUC and HTER of each dataset as a table; a policy of the threshold is a column."""
    from ifas_model.results import THRESHOLD_POLICIES

    policies = [name for name in THRESHOLD_POLICIES if any(name in one.rates for one in results)]
    rows = [["dataset", "role", "AUC", *(f"HTER {name}" for name in policies)]]
    for one in results:
        rates = [one.rates.get(name) for name in policies]
        told = [f"{rate.hter:.4f}" if rate else "-" for rate in rates]
        rows.append([one.target, one.role, f"{one.auc:.4f}", *told])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def say(text: str) -> None:
    """Print words for people, to stderr; no character of theirs acts on the terminal."""
    stderr.print(visible(text), markup=False, highlight=False)


@contextmanager
def expected_errors() -> Iterator[None]:
    """Print an expected failure without a traceback and exit with status 1."""
    make_warnings_visible()
    try:
        yield
    except ScfError as error:
        stderr.print("error:", style="bold red", end=" ")
        say(str(error))
        raise typer.Exit(1) from error
