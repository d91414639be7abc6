"""What the tests of the report share: invented results, and a small curated world."""

import io
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from upath import UPath

from ifas_model.results import ErrorRates, Result, save
from scf_pipeline import lock
from scf_pipeline.keywords import KeywordDictionary
from scf_pipeline.report.material import Evaluation, Material
from scf_pipeline.report.page import render
from scf_pipeline.schema import CAPTION_SCHEMA, FACE_SCHEMA, FILTER_SCHEMA, SAMPLE_SCHEMA, Reject
from scf_pipeline.settings import Settings
from scf_pipeline.stages.filter import keep_spoof_aware
from scf_pipeline.stages.stats import AUDIT_SCHEMA
from scf_pipeline.stats import audit
from scf_pipeline.store import Artifact, ArtifactWriter

lock.SETTLE_S = 0.0  # the stores of the tests tell at once what was put into them

DICTIONARY = Path(__file__).parents[2] / "keyword_dicts/spoof_aware.yaml"
TARGETS = (
    "casia_mfsd", "casia_surf_3dmask", "hkbu_mars_v1_plus", "hifi_mask", "msu_mfsd", "oulu_npu",
    "replay_attack", "rose_youtu", "siw", "siw_m_v2", "wmca",
)  # fmt: skip
SKILL = {
    "full": 1.5, "without-scf": 1.1, "without-gac": 1.2, "without-lopsided-loss": 1.35,
    "general-captions": 1.12, "source-only-captions": 1.4, "alpha-0": 0.6, "alpha-0.3": 1.3,
    "alpha-1": 1.1, "vitaf": 0.8, "vit-base": 0.9, "vit-large": 1.0, "flip-template": 1.05,
    "flip-captions": 1.2, "bona-fide-mixed": 1.55,
}  # fmt: skip
"""Distance of invented bona fide scores from attacks, in standard deviations."""

METHODS = {"vitaf": "vitaf", "vit-base": "vit", "vit-large": "vit"}
METHODS |= {"flip-template": "flip", "flip-captions": "flip"}
ALPHAS = {"alpha-0": 0.0, "alpha-0.3": 0.3, "alpha-1": 1.0}
MARKUP = 'a man with <script>alert(1)</script> a poster & "quotes"'


def rates_at(threshold: float, bona_fide, attack, species) -> ErrorRates:
    accepted = attack >= threshold
    far, bpcer = float(accepted.mean()), float((bona_fide < threshold).mean())
    apcer = {name: float(accepted[species == name].mean()) for name in sorted(set(species))}
    return ErrorRates(
        threshold=threshold,
        far=far,
        bpcer=bpcer,
        hter=(far + bpcer) / 2,
        apcer=apcer,
        acer=(max(apcer.values()) + bpcer) / 2,
    )


def invent(variant="full", *, seed=0, target="siw", world="hard", **changes) -> Result:
    """Return a result whose figures agree with each other, from seeded random scores."""
    skill = SKILL.get(variant, 1.0) + (0.6 if world == "easy" else 0.0)
    skill += 1.5 if changes.get("role") == "source" else 0.1 * np.sin(len(target))
    random = np.random.default_rng([seed, len(target), sum(target.encode()), len(world)])
    bona_fide, attack = random.normal(skill, 1, 60), random.normal(0, 1, 90)
    species = np.array((["print", "replay", "mask"] * 30)[:90])
    steps = np.unique(np.r_[bona_fide, attack, attack.max() + 9])
    far = np.array([(attack >= step).mean() for step in steps])
    bpcer = np.array([(bona_fide < step).mean() for step in steps])
    best = int(np.argmin(abs(far - bpcer)))
    area = float((bona_fide[:, None] > attack[None]).mean())
    eer = float((far[best] + bpcer[best]) / 2)
    keep = np.linspace(0, len(steps) - 1, 80).astype(int)[::-1]
    method = METHODS.get(variant, "ifas")
    answer = "judgment" if variant == "without-scf" else "judgment+interpretation"
    kind = "standard" if variant == "without-lopsided-loss" else "lopsided"
    loss = {"kind": kind, "alpha": ALPHAS.get(variant, 0.7)}
    queries = "learned" if variant == "without-gac" else "class_tokens"
    settings = {
        "method": {"method": method, "connector": {"global_queries": queries}, "loss": loss}
    }
    settings |= {"seed": seed, "answer": answer, "protocol": "protocol2"}
    told = {
        "method": method,
        "variant": variant,
        "world": world,
        "protocol": "protocol2",
        "target": target,
        "role": "target",
        "sources": ("celeba_spoof",),
        "seed": seed,
        "checkpoint_policy": "last",
        "auc": area,
        "eer": eer,
        "tpr_at_fpr_1": float(1 - bpcer[far <= 0.01].min()),
        "tpr_at_fpr_01": float(1 - bpcer[far <= 0.001].min()),
        "ece": 0.1,
        "rates": {
            "eer_on_test": rates_at(float(steps[best]), bona_fide, attack, species),
            "eer_on_dev": rates_at(float(steps[best]) + 0.3, bona_fide, attack, species),
            "fixed": rates_at(0.5, bona_fide, attack, species),
        },
        "intervals": {"auc": (area - 0.04, min(1.0, area + 0.04)), "hter": (eer / 2, eer * 1.5)},
        "frame_auc": area,
        "frame_hter": eer,
        "counts": {"samples": 150, "faces": 300, "bona_fide": 60, "attack": 90, "print": 30,
                   "replay": 30, "mask": 30},
        "roc": tuple((float(far[n]), float(1 - bpcer[n])) for n in keep),
        "is_inverted": False,
        "settings": settings,
        "inputs": {"model": f"train@{variant}{seed}", "shards": f"shard@{world}"},
    }  # fmt: skip
    if variant in ("general-captions", "source-only-captions", "bona-fide-mixed"):
        told["inputs"]["shards"] += variant
    return Result(**(told | changes))


def curve(variant: str, seed: int) -> list[dict]:
    fall = [np.exp(-step / (150 if variant == "full" else 220)) for step in range(0, 600, 10)]
    return [
        {"phase": "main", "step": 10 * n, "epoch": n / 6, "loss": value, "judgment": 0.7 * value,
         "interpretation": 3 * value + 0.01 * seed, "learning_rate": 1e-4}
        for n, value in enumerate(fall)
    ]  # fmt: skip


def training(variant: str, seed: int, method: str) -> dict:
    return {
        "curve": curve(variant, seed) if method == "ifas" else [], "seconds": 30.5,
        "samples": 1000, "steps": 600, "parameters": 2_000_000, "trained_parameters": 500_000,
    }  # fmt: skip


RESPONSES = [
    {"face_id": f"siw/{n}#0", "dataset": "siw", "label": "attack" if n else "bona_fide",
     "pai_species": "print" if n else None, "p_yes": 0.2 * n, "judgment": "No" if n else "Yes",
     "interpretation": MARKUP if n == 1 else "This is a man with a poster",
     "reference": "This is a printed photo"}
    for n in range(4)
]  # fmt: skip


def material_of(evaluations=(), curation=()) -> Material:
    dictionary = KeywordDictionary.load(DICTIONARY)
    return Material(evaluations=evaluations, curation=curation, dictionary=dictionary)


def seal_files(folder: Path, stage: str, files: dict, *, config=None, inputs=None) -> Artifact:
    settings = Settings(stage, 1, config or {}, inputs or {})
    writer = ArtifactWriter(folder, None, settings=settings)
    made = writer.scratch / "made"
    made.mkdir()
    for name, data in files.items():
        (made / name).write_bytes(data)
    writer.adopt(made)
    return writer.seal()


def evaluation(folder: Path, results: list[Result], *, responses=()) -> Artifact:
    """Seal an evaluation as the stage evaluate does."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.parent / f"{folder.name}.json"
    save(results, file)
    variant, seed = results[0].variant, results[0].seed
    config = {"variant": variant, "world": results[0].world, "seed": seed}
    config |= {"targets": [result.target for result in results]}
    files = {
        "results.json": file.read_bytes(),
        "training.json": json.dumps(training(variant, seed, results[0].method)).encode(),
        "responses.json": json.dumps(list(responses)).encode(),
    }
    file.unlink()
    return seal_files(folder, "evaluate", files, config=config, inputs={"shards": "shard@x"})


def groups(seeds, worlds, variants, left_out=("msu_mfsd", "casia_mfsd")) -> list[list[Result]]:
    """Return the results of each model of a reproduction: both protocols."""
    made = []
    for world in worlds:
        for seed in seeds:
            for name in variants:
                results = [invent(name, seed=seed, target=t, world=world) for t in TARGETS]
                source = {"seed": seed, "target": "celeba_spoof", "role": "source", "world": world}
                made.append([*results, invent(name, **source)])
            alone = {"seed": seed, "world": world, "protocol": "protocol1"}
            made += [[invent(target=target, **alone)] for target in left_out]
    return made


def unsealed(results: list[Result]) -> Evaluation:
    """Return an evaluation that lies on no disk."""
    variant, seed = results[0].variant, results[0].seed
    name = f"evaluate-{results[0].world}-{variant}-{seed}-{results[0].target}"
    manifest = {"stage": "evaluate", "fingerprint": name, "inputs": {}, "commit": "c0ffee"}
    manifest |= {"counts": {"datasets": {}}, "files": {}, "packages": {"torch": "2.0"}}
    return Evaluation(
        artifact=Artifact(UPath(name), manifest),
        results=results,
        training=training(variant, seed, results[0].method),
        responses=RESPONSES if variant == "full" else (),
    )


KINDS = (None, "print", "replay", "mask", "mannequin", "makeup")
SAID = {
    None: "a man in a room",
    "print": "a poster of a man",
    "replay": "a man on a tablet",
    "mask": "a man with no mask",
    "mannequin": "a statue near a window",
    "makeup": "a woman with red lips",
}


def identity(number: int, tail: str = "") -> dict:
    species = KINDS[number % len(KINDS)]
    return {
        "sample_id": f"siw/{number}{tail}",
        "dataset": ("siw" if number % 4 else "wmca") + tail,
        "split": "test",
        "subject_id": f"{number}{tail}",
        "label": "attack" if species else "bona_fide",
        "pai_species": species,
        "fine_type": f"{species}_flat{tail}" if species else None,
    }


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 90, 120)).save(buffer, "PNG")
    return buffer.getvalue()


def seal_rows(folder: Path, schema, rows: list[dict], settings: Settings) -> Artifact:
    writer = ArtifactWriter(folder, schema, settings=settings)
    half = len(rows) // 2
    for number, some in enumerate((rows[:half], rows[half:])):
        writer.write(number, pa.Table.from_pylist(some, schema=schema))
    return writer.seal()


def caption(
    folder: Path, faces: Artifact, model: str, label: str, words, tail: str = ""
) -> Artifact:
    rows = [
        row | {"face_id": f"{row['sample_id']}#0", "caption": words(row, n) + tail, "num_tokens": 4,
               "mean_log_probability": -1.0, "captioner": model, "reject": None}
        for n, row in enumerate(identity(n, tail) for n in range(48))
        if row["label"] == label
    ]  # fmt: skip
    rows[-1]["reject"] = Reject.DEGENERATE.value
    inputs = {"faces": faces.name, "model": model}
    return seal_rows(folder, CAPTION_SCHEMA, rows, Settings("caption", 1, {"label": label}, inputs))


def curate(folder: Path, *, difficulty="hard", seed=0, tail="") -> list[Artifact]:
    """Seal a small world from presentations to shards, one of whose captions holds markup.

    Args:
        folder: Where to.
        difficulty: Of the world.
        seed: Of the world.
        tail: Put behind everything that a stranger may word.
    """
    config = {"difficulty": difficulty + tail, "scale": f"smoke{tail}", "seed": seed}
    world = seal_files(folder / "world", "world", {"a.txt": b"a"}, config=config)
    samples = seal_rows(
        folder / "ingest",
        SAMPLE_SCHEMA,
        [identity(n, tail) | {"native_label": tail, "media_path": f"{n}.png"} for n in range(48)],
        Settings("ingest", 1, {}, {"world": world.name}),
    )
    crops = [
        row
        | {"face_id": f"{row['sample_id']}#0", "native_label": "x", "frame": 0}
        | {"image": png(5 * n + seed)}
        for n, row in enumerate(identity(n, tail) for n in range(48))
    ]
    settings = Settings("crop", 1, {}, {"samples": samples.name})
    faces = seal_rows(folder / "crop", FACE_SCHEMA, crops, settings)

    def general(row: dict, number: int) -> str:
        return SAID[row["pai_species"]] if number % 3 else "a man with glasses"

    def aware(row: dict, number: int) -> str:
        return MARKUP if row["pai_species"] == "print" else SAID[row["pai_species"]]

    told = [
        caption(folder / f"caption-{model[0]}-{label[0]}", faces, f"blip2@{model}{tail}", label,
                words, tail)
        for model, words in (("general", general), ("aware", aware))
        for label in ("attack", "bona_fide")
    ]  # fmt: skip
    dictionary = KeywordDictionary.load(DICTIONARY)
    filtered = keep_spoof_aware(told[0].read(CAPTION_SCHEMA.names), dictionary).to_pylist()
    settings = Settings("filter", 1, {}, {"captions": told[0].name})
    d_s = seal_rows(folder / "filter", FILTER_SCHEMA, filtered, settings)
    rows = [asdict(row) for row in audit(told, dictionary)]
    names = [one.name for one in told]
    settings = Settings("stats", 1, {"hold_out_fraction": 0.9}, {"captions": names})
    judged = seal_rows(folder / "stats", AUDIT_SCHEMA, rows, settings)
    inputs = {"captions": [told[1].name, told[2].name], "faces": faces.name}
    shards = seal_files(folder / "shard", "shard", {"README.md": b"card"}, inputs=inputs)
    return [world, samples, faces, *told, d_s, judged, shards]


@pytest.fixture(scope="session")
def results_of():
    """Return `invent`: one result from seeded scores."""
    return invent


@pytest.fixture(scope="session")
def seal_evaluation():
    """Return `evaluation`: an artifact of some results."""
    return evaluation


@pytest.fixture(scope="session")
def unseal():
    """Return `unsealed`: an evaluation that lies on no disk."""
    return unsealed


@pytest.fixture(scope="session")
def judged() -> list[Evaluation]:
    """A whole reproduction: two worlds, three seeds, all variants."""
    return [unsealed(some) for some in groups((0, 1, 2), ("hard", "easy"), tuple(SKILL))]


@pytest.fixture(scope="session")
def judged_once(tmp_path_factory) -> list[Artifact]:
    """The smallest reproduction, sealed: one world, one seed, three variants."""
    folder = tmp_path_factory.mktemp("once")
    some = groups((0,), ("hard",), ("full", "without-scf", "vitaf"), ("msu_mfsd",))
    return [
        evaluation(
            folder / f"evaluate-{n}", one, responses=RESPONSES if one[0].variant == "full" else ()
        )
        for n, one in enumerate(some)
    ]


@pytest.fixture(scope="session")
def write_page():
    """Return a function that renders evaluations and curated artifacts."""

    def write(evaluations=(), curation=()) -> str:
        return render(material_of(evaluations, curation))

    return write


@pytest.fixture(scope="session")
def material():
    """Return `material_of`: evaluations and curated artifacts as the page takes them."""
    return material_of


@pytest.fixture(scope="session")
def curate_world():
    """Return `curate`: a small world, from presentations to shards."""
    return curate


@pytest.fixture(scope="session")
def curated(tmp_path_factory) -> list[Artifact]:
    """A small world, from presentations to shards."""
    return curate(tmp_path_factory.mktemp("curated"))


@pytest.fixture
def run_folder(tmp_path, judged_once, curated) -> Path:
    """A run's folder, as `scf run` leaves it but for its plan."""
    for one in (*judged_once, *curated):
        shutil.copytree(one.path, tmp_path / "run" / one.path.name)
    return tmp_path / "run"
