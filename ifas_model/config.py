"""Settings of models, training and judging; the defaults are the paper's, or marked as ours."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from ifas_model.strict import STRICT
from ifas_model.vocabulary import Split

SETTINGS = "train.json"
"""File of a model folder that holds its `TrainConfig`."""

TOWER = "tower.sha256"
"""File of a model folder that holds the hash of the CLIP folder it was trained with."""

CUSTOM = "custom"
"""Name of the protocol that the settings themselves tell."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ConnectorConfig:
    """Settings of the Globally Aware Connector (eq. 2)."""

    vision_dim: int = Field(default=1024, ge=1)
    """V, width of the vision tower; CLIP ViT-L/14's by default."""

    language_dim: int = Field(default=2560, ge=1)
    """T, width of the language model; OPT-2.7B's by default."""

    encoder_layers: int = Field(default=24, ge=1)
    """L, number of class tokens, one for each encoder layer (ViT-L/14: 24)."""

    dim: int = Field(default=1024, ge=1)
    """D, width of the queries. PAPER: eq. (2) has the vision width."""

    num_queries: int = Field(default=32, ge=1)
    """M, number of learnable queries. PAPER: not stated; BLIP-2 uses 32."""

    num_blocks: int = Field(default=6, ge=1)
    """Blocks. PAPER: not stated; BLIP-2's Q-Former cross-attends six times."""

    num_heads: int = Field(default=16, ge=1)
    """Attention heads; 64 wide, as CLIP's."""

    mlp_ratio: int = Field(default=4, ge=1)
    """Width of the MLP over D."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of attention and residuals, as in the Q-Former."""

    global_queries: Literal["class_tokens", "learned"] = "class_tokens"
    """What joins the learnable queries: Q_V, or (without GAC, Table 3) L more learnable ones."""

    cross_attend: Literal["all", "learnable"] = "all"
    """Who attends to patches. PAPER: eq. (2) lets all tokens, the text only the learnable ones."""

    class_token_projection: Literal["shared", "per_layer"] = "shared"  # noqa: S105 - no secret
    """One linear map for the class tokens of all layers, or one for each."""

    level_embedding: bool = False
    """Whether a learnable vector tells of which layer a class token is."""

    initial_std: float = Field(default=0.02, gt=0)
    """Standard deviation of fresh learnable queries."""

    initial_weights: Path | None = None
    """Safetensors file of a trained connector to begin with; ``None`` begins from scratch."""

    @model_validator(mode="after")
    def _check_heads(self) -> ConnectorConfig:
        if self.dim % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide `dim` ({self.dim}), but is {self.num_heads}."
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class LossConfig:
    """Settings of the loss."""

    kind: Literal["lopsided", "standard"] = "lopsided"
    """L-LM (eq. 4), or the plain language-model loss (Table 3): the mean over all answer tokens."""

    alpha: float = Field(default=0.7, ge=0, le=1)
    """Weight of the judgment. PAPER: only in Figure 5; published readings put the best near 0.7."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class IFasConfig:
    """Settings of the I-FAS model; widths follow from tower and language model."""

    method: Literal["ifas"] = "ifas"

    connector: ConnectorConfig = ConnectorConfig()
    """The connector; its `vision_dim`, `language_dim` and `encoder_layers` are set when built."""

    local_layer: int = -2
    """Encoder block whose patch tokens are X_V; negative counts from the last. PAPER: not stated;
    BLIP-2 takes CLIP's second to last."""

    keep_class_token: bool = False
    """Whether X_V holds the class token as well. PAPER: "local" features are patches."""

    language_training: Literal["frozen", "lora", "full"] = "frozen"
    """What of the language model learns. PAPER: only the vision tower is said to be frozen."""

    lora_rank: int = Field(default=16, ge=1)
    """Rank of the adapters of the query and value projections, with ``lora``."""

    lora_alpha: int = Field(default=32, ge=1)
    """Scale of the adapters, over their rank."""

    prompt: str = "Question: {question} Answer:"
    """What the language model reads before it answers. PAPER: only the question is given; the
    wrapper is BLIP-2's for OPT."""

    loss: LossConfig = LossConfig()
    """The loss."""

    max_interpretation_tokens: int = Field(default=48, ge=1)
    """Longer interpretations are cut."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class VitConfig:
    """Settings of the ViT baseline: CLIP's vision tower, all weights tuned. Source: FLIP-V."""

    method: Literal["vit"] = "vit"

    head_dim: int = Field(default=512, ge=1)
    """Width between the features and the two classes."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Between them."""

    is_tower_frozen: bool = False
    """Whether only the head learns (linear probe)."""

    saturation: float = Field(default=0.2, ge=0, lt=1)
    """Saturation is scaled by 1 +- this, on half of the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class VitafConfig:
    """Settings of ViTAF: adapters and feature-wise transforms in a frozen tower."""

    method: Literal["vitaf"] = "vitaf"

    head_dim: int = Field(default=512, ge=1)
    """Width between the features and the two classes."""

    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Between them."""

    adapter_dim: int = Field(default=64, ge=1)
    """Width of an adapter's bottleneck."""

    cosine_weight: float = Field(default=0.03, ge=0)
    """Weight of the squared cosine of parallel adapters. The released code computes it and leaves
    it out of the loss: 0 is that code, 0.03 the paper's for CASIA-MFSD and Replay-Attack."""

    initial_scale: float = Field(default=0.3, ge=0)
    """Initial theta of the transforms' scale."""

    initial_shift: float = Field(default=0.5, ge=0)
    """Initial theta of the transforms' shift."""

    saturation: float = Field(default=0.2, ge=0, lt=1)
    """Saturation is scaled by 1 +- this, on half of the pictures."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FlipConfig:
    """Settings of FLIP: both halves of CLIP, pictures against texts of the two classes."""

    method: Literal["flip"] = "flip"

    text: Literal["template", "captions"] = "template"
    """What stands for a class: its templates, or SCF's texts (Table 4)."""

    variant: Literal["it", "mcl"] = "mcl"
    """Image-text loss alone, or with FLIP-MCL's two consistency losses."""

    temperature: float = Field(default=0.1, gt=0)
    """Of the contrast of two views."""

    hidden_dim: int = Field(default=4096, ge=1)
    """Width of the views' projection head."""

    view_dim: int = Field(default=256, ge=1)
    """Width of the space in which two views are contrasted."""

    prototype_texts: int = Field(default=1000, ge=1)
    """Most training texts of a class whose mean is its prototype, with ``captions``."""

    saturation: float = Field(default=0.2, ge=0, lt=1)
    """Saturation is scaled by 1 +- this, on half of the pictures."""


MethodConfig = IFasConfig | VitConfig | VitafConfig | FlipConfig
"""Any method: the model and every baseline."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PhaseConfig:
    """One stretch of training, with an optimizer and a schedule of its own."""

    name: Literal["main", "align", "head"] = "main"
    """What the method learns in it. ``align``: I-FAS's connector alone, to describe pictures;
    ``head``: ViTAF's and ViT's classifier alone."""

    epochs: float = Field(default=10, gt=0)
    """Passes over as many faces as there are; the paper's limit is 10."""

    steps: int | None = Field(default=None, ge=1)
    """Updates; ``None`` follows from `epochs`."""

    batch_size: int = Field(default=32, ge=1)
    """Faces of one update; the paper's."""

    accumulation: int = Field(default=1, ge=1)
    """Batches whose gradients one update adds up; each holds `batch_size` / `accumulation`."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak of the learning rate; the paper's "initial" one."""

    language_rate: float | None = Field(default=None, gt=0)
    """Peak for the language model; ``None`` is `learning_rate`."""

    weight_decay: float = Field(default=1e-2, ge=0)
    """AdamW's, of matrices; the paper's."""

    warmup_fraction: float = Field(default=0.03, ge=0, le=1)
    """Share of the steps with a linearly rising rate; a cosine takes it to zero. PAPER: open."""

    max_gradient_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm. PAPER: not stated."""

    @model_validator(mode="after")
    def _check_batch(self) -> PhaseConfig:
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"`accumulation` must divide `batch_size` ({self.batch_size}), "
                f"but is {self.accumulation}."
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OwnDatasets:
    """Splits, by dataset, of shards that no named protocol knows.

    A dataset may lie in several parts with other splits, to be judged on pictures of its own kind.
    """

    train: dict[str, tuple[Split, ...]]
    """What teaches."""

    dev: dict[str, tuple[Split, ...]]
    """What sets the threshold `eer_on_dev`; results call it the source's own part."""

    test: dict[str, tuple[Split, ...]]
    """What is judged."""

    @model_validator(mode="after")
    def _check_parts(self) -> OwnDatasets:
        user: dict[tuple[str, Split], str] = {}
        for part in ("train", "dev", "test"):
            splits_of: dict[str, tuple[Split, ...]] = getattr(self, part)
            empty = [dataset for dataset, splits in splits_of.items() if not splits]
            if not splits_of or empty:
                found = f"names none of {empty[0]}" if empty else "names none"
                raise ValueError(f"`own.{part}` must name splits of datasets, but {found}.")
            for dataset, splits in splits_of.items():
                for split in splits:
                    if user.setdefault((dataset, split), part) != part:
                        raise ValueError(
                            f"`own` must name a split of a dataset in one part, but names {split} "
                            f"of {dataset} in {user[dataset, split]} and {part}."
                        )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainConfig:
    """Settings of one training run."""

    stage: ClassVar[str] = "train"
    version: ClassVar[int] = 1

    method: MethodConfig = Field(default=IFasConfig(), discriminator="method")
    """What learns."""

    protocol: str = "protocol2"
    """Which datasets and splits teach; see `ifas_model.protocols`."""

    target: str | None = None
    """Dataset left out, where the protocol leaves one out."""

    own: OwnDatasets | None = None
    """What teaches and is judged with the protocol ``custom``, and with no other."""

    answer: Literal["judgment", "judgment+interpretation"] = "judgment+interpretation"
    """What the model learns to answer; the judgment alone is Table 3's "without SCF"."""

    phases: tuple[PhaseConfig, ...] = (PhaseConfig(),)
    """Stretches of training, in order."""

    select: Literal["last", "best_on_dev", "best_on_test"] = "last"
    """Which weights the last phase ends with: the last, or those of the highest AUC by sample on
    the dev part, or in the mean over the targets. The latter is what the code of public baselines
    does; it is optimistic, and there only for comparison with their numbers."""

    select_every: int | None = Field(default=None, ge=1)
    """Updates between two looks at these faces, beside one at the end; ``None`` is an epoch."""

    sampler: Literal["balanced", "uniform"] = "balanced"
    """Whether label and dataset are drawn evenly. PAPER: not stated."""

    flip: bool = True
    """Whether half of the pictures are mirrored. PAPER: no augmentation is stated."""

    max_samples: int | None = Field(default=None, ge=2)
    """Most source samples to learn from, drawn by the seed; ``None`` takes all."""

    seed: int = Field(default=0, ge=0)
    """Of fresh weights, the choice of samples, data order and dropout."""

    checkpoint_every: int = Field(default=500, ge=1)
    """Updates between checkpoints."""

    log_every: int = Field(default=10, ge=1)
    """Updates between points of the loss curves."""

    @model_validator(mode="after")
    def _check_own(self) -> TrainConfig:
        if (self.protocol == CUSTOM) != (self.own is not None):
            wanted, found = ("given", "absent") if self.own is None else ("absent", "given")
            raise ValueError(
                f"`own` must be {wanted} where `protocol` is {self.protocol!r}, but is {found}."
            )
        return self


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class EvaluateConfig:
    """Settings of one evaluation."""

    stage: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 1

    variant: str = "full"
    """What the tables call the model, e.g. ``without-scf``."""

    world: str = ""
    """What the tables call the data, e.g. ``hard``; empty for real datasets."""

    batch_size: int = Field(default=256, ge=1)
    """Faces scored at a time."""

    fixed_threshold: float = Field(default=0.5, ge=0, le=1)
    """The threshold of the policy ``fixed``."""

    bootstrap: int = Field(default=500, ge=0)
    """Resamplings behind the 95 % intervals; 0 computes none."""

    responses: int = Field(default=0, ge=0)
    """Faces of each target whose answers are generated, for people to read."""

    seed: int = Field(default=0, ge=0)
    """Of the bootstrap and the choice of responses."""


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class FeaturesConfig:
    """Settings of the cache of frozen vision features."""

    stage: ClassVar[str] = "features"
    version: ClassVar[int] = 1

    local_layer: int = -2
    """As `IFasConfig`'s."""

    keep_class_token: bool = False
    """As `IFasConfig`'s."""

    flip: bool = True
    """Whether the mirrored view of each face is cached as well."""

    splits: tuple[Split, ...] = tuple(Split)
    """Splits whose faces are cached."""

    precision: Literal["float32", "float16"] = "float32"
    """Of the numbers on disk; half of it halves the folder and rounds the features."""

    batch_size: int = Field(default=128, ge=1)
    """Faces at a time."""
