"""`scf`: parse, delegate, report. Heavy imports wait until a command needs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ifas_model.text import in_line, make_warnings_visible, visible
from scf_pipeline.errors import ScfError

if TYPE_CHECKING:
    from scf_pipeline.store import Artifact

app = typer.Typer(
    help="Curate spoof-aware VQA shards for face anti-spoofing.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
stderr = Console(stderr=True, soft_wrap=True, emoji=False)


class LabelChoice(StrEnum):
    """Which faces to caption."""

    ATTACK = "attack"
    BONA_FIDE = "bona_fide"
    ALL = "all"


class ScaleChoice(StrEnum):
    """How large a miniature world."""

    SMOKE = "smoke"
    DEFAULT = "default"
    FULL = "full"


class DifficultyChoice(StrEnum):
    """How plain to see the cues of attacks are."""

    EASY = "easy"
    HARD = "hard"


Out = Annotated[str, typer.Option(help="Folder or fsspec URL to write the artifact to.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML file with settings of the stage.")
]
Workers = Annotated[int, typer.Option(min=0, help="Ray actors; 0 runs in this process.")]
Gpus = Annotated[float, typer.Option(min=0, help="GPUs for each worker; may be a fraction.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="Checkpoint folder, or hub id with @revision.")
]
Dictionary = Annotated[
    Path | None, typer.Option(help="YAML keyword dictionary; the packaged one without it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]


@app.command()
def world(
    out: Annotated[str, typer.Argument(help="Folder to draw the world into.")],
    scale: Annotated[ScaleChoice, typer.Option(help="How many pictures.")] = ScaleChoice.DEFAULT,
    difficulty: Annotated[
        DifficultyChoice, typer.Option(help="How visible cues are.")
    ] = DifficultyChoice.HARD,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything drawn.")] = 0,
    workers: Workers = 0,
) -> None:
    """Draw the miniature world: twelve datasets in their native layouts, and datasets.yaml.

    Example: scf world runs/world --scale smoke
    """
    with expected_errors():
        from scf_pipeline.miniature import world as stage

        config = stage.WorldConfig(scale=scale.value, difficulty=difficulty.value, seed=seed)
        report(stage.run(config, out=upath(out), engine=engine(workers)))


@app.command()
def datasets(
    name: Annotated[str | None, typer.Argument(help="One adapter; all without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Tell what is known of the datasets: title, licence, how to obtain, layout, counts.

    Example: scf datasets oulu_npu
    """
    with expected_errors():
        from ifas_model import plugins
        from scf_pipeline import adapters
        from scf_pipeline.datasets_file import known_adapter

        names = [name] if name else plugins.names(adapters)
        known = {n: known_adapter(n, where="the command line") for n in names}
        facts = {
            n: {
                "title": adapter.title,
                "citation": adapter.citation,
                "license": adapter.license,
                "obtain": adapter.obtain,
                "bona_fide": adapter.bona_fide,
                "attack": adapter.attack,
                "layout": adapter.layout,
            }
            for n, adapter in known.items()
        }
        if as_json:
            typer.echo(json.dumps(facts, indent=2, ensure_ascii=False))
            return
        for n, fact in facts.items():
            counts = f"{fact['bona_fide'] or '?'} bona fide, {fact['attack'] or '?'} attack"
            say(f"{n}: {fact['title']} ({counts})")
            if name:
                for key in ("citation", "license", "obtain", "layout"):
                    say(f"{key}:\n{fact[key]}")


@app.command()
def ingest(
    names: Annotated[list[str], typer.Argument(metavar="DATASET...", help="Adapters to read.")],
    datasets_file: Annotated[
        Path, typer.Option("--datasets", help="datasets.yaml: `name: root` lines.")
    ],
    out: Out,
    config: ConfigFile = None,
) -> None:
    """List the presentations of native datasets: native layouts -> samples.

    Example: scf ingest oulu_npu msu_mfsd --datasets datasets.yaml --out runs/samples
    """
    with expected_errors():
        from scf_pipeline.datasets_file import read_roots, select_roots
        from scf_pipeline.stages import ingest as stage

        roots = select_roots(read_roots(datasets_file), names, where=str(datasets_file))
        made = build(stage.IngestConfig, config, datasets=tuple(names))
        report(stage.run(made, roots=roots, out=upath(out), engine=engine(0)))


@app.command()
def crop(
    samples: Annotated[str, typer.Argument(help="Sample artifact.")],
    out: Out,
    config: ConfigFile = None,
    workers: Workers = 0,
    preview: Annotated[
        str | None, typer.Option(help="PNG to draw some crops on, beside their sources.")
    ] = None,
) -> None:
    """Cut the faces out: samples -> faces (frames, boxes, square crops).

    Of faces that are sealed already, --preview draws the picture without cutting anything anew.

    Example: scf crop runs/samples --out runs/faces --workers 8 --preview crops.png
    """
    with expected_errors():
        from scf_pipeline import preview as sheet
        from scf_pipeline.stages import crop as stage

        made, source, place = build(stage.CropConfig, config), artifact(samples), upath(out)
        picture = upath(preview) if preview else None
        if picture is not None:
            sheet.check_place(picture, place)  # before hours of work
        faces = stage.run(made, samples=source, out=place, engine=engine(workers))
        if picture is not None:
            sheet.write(made, samples=source, faces=faces, file=picture)
            say(in_line(f"preview: {picture}"))
        report(faces)


@app.command()
def caption(
    faces: Annotated[str, typer.Argument(help="Face artifact.")],
    out: Out,
    model: ModelName = None,
    label: Annotated[LabelChoice, typer.Option(help="Which faces.")] = LabelChoice.ALL,
    config: ConfigFile = None,
    workers: Workers = 0,
    gpus_per_worker: Gpus = 0,
) -> None:
    """Caption faces with C_G or C_S: faces -> captions.

    Example: scf caption runs/faces --out runs/captions --model checkpoints/blip2 --label attack
    """
    with expected_errors():
        from ifas_model.vocabulary import Label
        from scf_pipeline.stages import caption as stage

        chosen = None if label is LabelChoice.ALL else Label(label.value)
        made = build(stage.CaptionConfig, config, label=chosen)
        report(
            stage.run(
                made,
                faces=artifact(faces),
                model=find_model(model),
                out=upath(out),
                engine=engine(workers, gpus_per_worker),
                resources=resources(gpus_per_worker),
            )
        )


@app.command("filter")
def filter_(
    captions: Annotated[str, typer.Argument(help="Caption artifact of attacks.")],
    out: Out,
    dictionary: Dictionary = None,
    config: ConfigFile = None,
    workers: Workers = 0,
) -> None:
    """Keep the captions that name their own attack: captions -> D_S.

    Example: scf filter runs/captions --out runs/d_s --workers 8
    """
    with expected_errors():
        from scf_pipeline.stages import filter as stage

        made = build(stage.FilterConfig, config, dictionary=dictionary)
        report(stage.run(made, captions=artifact(captions), out=upath(out), engine=engine(workers)))


@app.command()
def finetune(
    faces: Annotated[str, typer.Argument(help="Face artifact.")],
    captions: Annotated[str, typer.Argument(help="Filtered caption artifact, D_S.")],
    out: Out,
    model: ModelName = None,
    config: ConfigFile = None,
    workers: Annotated[int, typer.Option(min=0, max=1, help="1 runs on a Ray worker.")] = 0,
    gpus_per_worker: Gpus = 0,
) -> None:
    """Fine-tune C_G on D_S: -> weights of C_S, a checkpoint folder for --model.

    Example: scf finetune runs/faces runs/d_s --out runs/c_s --model checkpoints/blip2
    """
    with expected_errors():
        from scf_pipeline.stages import finetune as stage

        report(
            stage.run(
                build(stage.FinetuneConfig, config),
                faces=artifact(faces),
                captions=artifact(captions),
                model=find_model(model),
                out=upath(out),
                engine=engine(workers, gpus_per_worker),
                resources=resources(gpus_per_worker),
            )
        )


@app.command()
def convert(
    checkpoint: Annotated[str, typer.Argument(help="Checkpoint folder, hub id, or .pth of LAVIS.")],
    out: Annotated[Path, typer.Option(help="Folder to write; it must not be there yet.")],
    base: Annotated[
        str | None, typer.Option(help="Of a .pth: the checkpoint that it began from.")
    ] = None,
) -> None:
    """Convert a BLIP-2 between the layouts of transformers and of LAVIS, whichever it is in.

    Example: scf convert runs/c_s --out checkpoints/c_s-lavis
    """
    with expected_errors():
        from scf_pipeline.captioners import _lavis_convert

        typer.echo(_lavis_convert.convert(checkpoint, out, base=base))


@app.command()
def shard(
    faces: Annotated[str, typer.Argument(help="Face artifact.")],
    captions: Annotated[list[str], typer.Option(help="Caption artifact; may be repeated.")],
    out: Out,
    dictionary: Dictionary = None,
    config: ConfigFile = None,
    workers: Workers = 0,
) -> None:
    """Write VQA shards: faces + captions -> shuffled Parquet that `datasets` opens.

    Example: scf shard runs/faces --captions runs/t_r --captions runs/t_s --out runs/shards
    """
    with expected_errors():
        from scf_pipeline.stages import shard as stage

        made = build(stage.ShardConfig, config, dictionary=dictionary)
        told = [artifact(path) for path in captions]
        place = upath(out)
        report(
            stage.run(made, faces=artifact(faces), captions=told, out=place, engine=engine(workers))
        )


@app.command()
def run(
    flow: Annotated[str, typer.Argument(help="Flow, e.g. flows/reproduce.py:SMOKE.")],
    workers: Annotated[int, typer.Option(min=0, help="Ray workers; 0: this process.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan only.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the artifacts.")] = Path("runs"),
    datasets_file: Annotated[
        Path | None, typer.Option("--datasets", help="datasets.yaml of real datasets.")
    ] = None,
    site: Annotated[
        Path, typer.Option(help="What is here of datasets and models; see flows/paper.py.")
    ] = Path("paper.yaml"),
    as_json: AsJson = False,
) -> None:
    """Run a flow: plan it, write the plan down, and execute what is not yet sealed.

    A flow of real datasets and published models first looks whether all of it is here, and tells
    what is missing; --dry-run does that alone.

    Example: scf run flows/reproduce.py:SMOKE --dry-run
    """
    with expected_errors():
        from scf_pipeline import runner
        from scf_pipeline.steps import OnSite, plan

        name, targets = runner.find_flow(flow)
        roots, gpus = datasets_file, 0.0
        if isinstance(targets, OnSite):
            from scf_pipeline.preflight import examine

            found = examine(targets, site, out=out)
            for line in found.lines():
                say(in_line(line))
            found.require()
            targets, roots = list(found.targets), found.site.datasets
            gpus = found.site.gpus_per_worker
        if dry_run:
            planned = plan(*targets)
            if as_json:
                typer.echo(json.dumps([step.to_dict() for step in planned], indent=2))
                return
            for step in planned:
                sealed = (out / step.folder / "manifest.json").is_file()
                say(f"{step.folder}: {'sealed' if sealed else 'to do'}")
            return
        made = runner.run_steps(name, targets, out=out, workers=workers, roots=roots, gpus=gpus)
        last = Path(list(made.values())[-1])
        page = last / "report.html"  # of a report, the page is what people open
        typer.echo(json.dumps(made, indent=2) if as_json else page if page.is_file() else last)


@app.command()
def status(
    folder: Annotated[str, typer.Argument(help="An artifact, or a folder of artifacts.")],
    as_json: AsJson = False,
) -> None:
    """Tell which artifacts lie in a folder: sealed or not, rows kept and rejected by reason."""
    with expected_errors():
        from scf_pipeline import verify as checks

        found = [checks.status(path) for path in checks.find_artifacts(upath(folder))]
        if as_json:
            rows = [
                {
                    "path": one.path,
                    "stage": one.stage,
                    "sealed": one.is_sealed,
                    "parts": one.parts,
                    "counts": one.counts.to_dict() if one.counts else None,
                }
                for one in found
            ]
            typer.echo(json.dumps(rows, indent=2))
            return
        for one in found:
            say(in_line(one.line()))


@app.command()
def retry(
    folder: Annotated[str, typer.Argument(help="An artifact, or a folder of artifacts.")],
) -> None:
    """Open artifacts again where files were missing or broken; rerun their commands afterwards.

    Example: scf retry runs/faces && scf crop runs/samples --out runs/faces
    """
    with expected_errors():
        from scf_pipeline.retry import open_again
        from scf_pipeline.verify import find_artifacts

        for path in find_artifacts(upath(folder)):
            say(in_line(open_again(path).line()))


@app.command()
def verify(
    folder: Annotated[str, typer.Argument(help="An artifact, or a folder of artifacts.")],
) -> None:
    """Recompute hashes, schemas, counts and keys; print one line a difference and exit with 1."""
    with expected_errors():
        from scf_pipeline import verify as checks

        paths = checks.find_artifacts(upath(folder))
        differences = checks.verify_all(paths)
        for line in differences:
            say(in_line(line))
        if differences:
            raise typer.Exit(1)
        say(f"verify: {len(paths)} artifacts as they were sealed")


@app.command()
def stats(
    folder: Annotated[str, typer.Argument(help="A caption artifact, or a folder of artifacts.")],
    held_out: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only subjects held out at this share.")
    ] = None,
    dictionary: Dictionary = None,
    as_json: AsJson = False,
) -> None:
    """Audit captioners side by side: how often they name the attack, and what else they say.

    Example: scf stats runs/default --held-out 0.05
    """
    with expected_errors():
        from dataclasses import asdict

        from scf_pipeline import stats as counts
        from scf_pipeline.keywords import KeywordDictionary
        from scf_pipeline.tables import to_text
        from scf_pipeline.verify import find_captions

        told = find_captions(upath(folder))
        words = KeywordDictionary.load(dictionary_path(dictionary))
        rows = counts.audit(told, words, held_out=held_out)
        if as_json:
            typer.echo(json.dumps([asdict(row) for row in rows]))
        else:
            say(to_text(rows))


@app.command("report")
def report_(
    folder: Annotated[str, typer.Argument(help="A run's folder, e.g. runs/default.")],
    dictionary: Dictionary = None,
) -> None:
    """Write the report of a run: results and manifests -> one HTML page; prints its path.

    Example: scf report runs/default
    """
    with expected_errors():
        from scf_pipeline.report import shelf
        from scf_pipeline.settings import settings
        from scf_pipeline.stages import report as stage

        place = upath(folder)
        found = shelf.sealed_in(place)
        if (made := shelf.current(found)) is None:
            config = stage.ReportConfig(dictionary=dictionary_path(dictionary))
            names = ("evaluations", "curation")
            inputs = dict(zip(names, map(tuple, shelf.parted(found)), strict=True))
            name = f"report-{settings(config, **inputs).fingerprint[:8]}"
            made = stage.run(config, **inputs, out=place / name, engine=engine(0))
        typer.echo(made.path / stage.PAGE)


def upath(place: str) -> Any:  # noqa: ANN401 - a UPath; naming it would import fsspec
    """Return a local path or fsspec URL as a path object."""
    from scf_pipeline.reach import as_local

    return as_local(place)


def artifact(place: str) -> Artifact:
    """Open a sealed artifact."""
    from scf_pipeline.store import Artifact

    return Artifact.open(place)


def engine(workers: int, gpus_per_worker: float = 0) -> Any:  # noqa: ANN401 - an Engine
    """Return the engine for a number of workers."""
    from scf_pipeline.engine import choose

    return choose(workers, gpus_per_worker=gpus_per_worker)


def resources(gpus: float) -> Any:  # noqa: ANN401 - Resources
    """Return what one worker of a GPU stage needs."""
    from scf_pipeline.engine import Resources

    return Resources(cpus=1, gpus=gpus)


def build(kind: Any, file: Path | None, **given: Any) -> Any:  # noqa: ANN401 - any config
    """Build a stage's config from its YAML file and the command line, which wins.

    A command-line value of ``None`` leaves the file's; a dictionary that neither names is the
    packaged one.
    """
    from ifas_model import strict

    data = strict.read_yaml(file) if file else {}
    data |= {key: value for key, value in given.items() if value is not None}
    if "dictionary" in given:
        data.setdefault("dictionary", dictionary_path(None))
    return strict.build(kind, data, where=file or "the command line")


def find_model(name: str | None) -> Any:  # noqa: ANN401 - a captioners.Model
    """Return the model that ``--model`` names."""
    from scf_pipeline import captioners
    from scf_pipeline.errors import CaptionerError

    if name is None:
        raise CaptionerError(
            "A captioner must be named, but --model is absent.",
            where="--model",
            fix="Give a checkpoint folder, or a hub id with its revision: "
            "--model Salesforce/blip2-opt-2.7b-coco@<revision>.",
        )
    return captioners.find(name)


def dictionary_path(given: Path | None) -> Path:
    """Return the keyword dictionary that was given, or the packaged one."""
    from scf_pipeline.keywords import default_dictionary

    return given or default_dictionary()


def report(made: Artifact) -> None:
    """Say what was kept and rejected, and print the path: the only line on stdout."""
    say(in_line(f"{made.stage}: {made.counts.summary()}"))
    typer.echo(made.path)


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
