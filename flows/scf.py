"""Spoof-aware Captioning and Filtering (SCF): Algorithm 1, line by line."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flows.settings import Setting
from ifas_model.vocabulary import Label
from scf_pipeline.stages.filter import FilterConfig
from scf_pipeline.stages.finetune import FinetuneConfig
from scf_pipeline.stages.ingest import IngestConfig
from scf_pipeline.stages.shard import ShardConfig
from scf_pipeline.stages.stats import StatsConfig
from scf_pipeline.steps import Step, step


@dataclass(frozen=True, kw_only=True)
class Products:
    """What SCF makes, by the paper's names."""

    faces: Step
    """Every face."""

    t_f: Step
    """T_F: captions of attacks by C_G."""

    t_r: Step
    """T_R: captions of bona fide faces by C_G."""

    d_s: Step
    """D_S: captions of attacks that name their own attack."""

    c_s: Step
    """C_S: the spoof-aware captioner."""

    audit: Step
    """C_G and C_S side by side, on subjects that fine-tuning never saw."""

    shards_t_f: Step
    """Shards whose attacks have C_G's captions, for Table 4."""

    shards: Step
    """D_cap: the VQA shards."""


def scf(setting: Setting, *datasets: str) -> Products:
    """Turn raw datasets into VQA shards.

    Which datasets go in is a decision about leakage, so it is left to the caller: the paper pools
    all twelve, later test targets included; a strict protocol passes only its source datasets, or
    lets only these teach C_S (`another_c_s`).
    """
    c_g, k = setting.captioner, setting.dictionary
    attacks = replace(setting.caption, label=Label.ATTACK)
    bona_fide = replace(setting.caption, label=Label.BONA_FIDE)

    samples = step(IngestConfig(datasets=datasets), world=setting.world)
    faces = step(setting.crop, samples=samples)
    t_f = step(attacks, name="caption-general", faces=faces, model=c_g)  # line 1
    d_s = step(FilterConfig(dictionary=k), captions=t_f)  # lines 2 to 9
    c_s = step(setting.finetune, faces=faces, captions=d_s, model=c_g)  # line 10
    t_r = step(bona_fide, name="caption-bona-fide", faces=faces, model=c_g)  # line 11, left
    t_s = step(attacks, name="caption-spoof-aware", faces=faces, model=c_s)  # line 11, right

    shard = ShardConfig(dictionary=k)
    return Products(
        faces=faces,
        t_f=t_f,
        t_r=t_r,
        d_s=d_s,
        c_s=c_s,
        audit=_audit(setting, faces, c_s, t_f, t_r, t_s),
        shards_t_f=step(shard, name="shard-general", faces=faces, captions=(t_r, t_f)),
        shards=step(shard, faces=faces, captions=(t_r, t_s)),  # line 12
    )


def another_c_s(
    setting: Setting,
    made: Products,
    name: str,
    finetune: FinetuneConfig,
    *,
    extra: Step | None = None,
) -> Products:
    """Return the same products with a C_S that was tuned in another way.

    Args:
        setting: That of `made`.
        made: What SCF made.
        name: What the steps are called after.
        finetune: The other way.
        extra: Captions that teach beside D_S.
    """
    attacks = replace(setting.caption, label=Label.ATTACK)
    c_s = step(
        finetune,
        name=f"finetune-{name}",
        faces=made.faces,
        captions=made.d_s,
        model=setting.captioner,
        extra=extra,
    )
    t_s = step(attacks, name=f"caption-{name}", faces=made.faces, model=c_s)
    shard = ShardConfig(dictionary=setting.dictionary)
    return replace(
        made,
        c_s=c_s,
        audit=_audit(setting, made.faces, c_s, made.t_f, made.t_r, t_s),
        shards=step(shard, name=f"shard-{name}", faces=made.faces, captions=(made.t_r, t_s)),
    )


def _audit(setting: Setting, faces: Step, c_s: Step, t_f: Step, t_r: Step, t_s: Step) -> Step:
    bona_fide = replace(setting.caption, label=Label.BONA_FIDE)
    false_alarms = step(
        bona_fide,
        name=c_s.name.replace("finetune", "caption-false-alarms"),
        faces=faces,
        model=c_s,
    )
    audit = StatsConfig(
        dictionary=setting.dictionary, hold_out_fraction=setting.finetune.hold_out_fraction
    )
    return step(
        audit,
        name=c_s.name.replace("finetune", "stats"),
        captions=(t_f, t_r, t_s, false_alarms),
    )
