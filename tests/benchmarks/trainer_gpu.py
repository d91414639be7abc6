"""One full-size update of I-FAS on a GPU: CLIP ViT-L/14, the connector and OPT-2.7B.

Weights are random; tower and language model are frozen, as in the paper's setting. An update is
forward, backward, clipping and AdamW on a batch of 32, under bfloat16 as the trainer does it. The
card's matrix rate is measured on the same card in the same run; the share of it that an update
reaches counts every matrix product and convolution of the update, forward and backward. Updates
with pixels and with cached features take turns. Prints a table to stderr and JSON to stdout.

Needs torch, transformers and this project's light dependencies; no Ray, no network, no data.
Without a GPU, toy sizes run on the CPU: they show that the script works, and nothing of a GPU. What
a full-size update multiplies is counted anywhere, on tensors without memory.

Example: python tests/benchmarks/trainer_gpu.py --rounds 20
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from _report import machine, publish, spread, take_turns
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPVisionConfig, OPTConfig

from ifas_model.checkpoint import IFasModelConfig
from ifas_model.language import Words
from ifas_model.loss import Segment
from ifas_model.model import IFas
from ifas_model.vision import Pixels

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
WORDS = Words(
    prompt=tuple(range(4, 18)), caption_prompt=(4,), yes=20, no=21, separator=(22,), end=23, pad=1
)
"""Ids stand for words: which ones changes no time. The prompt is about as long as OPT's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Widths and depths of the three parts, and of the batch."""

    image_px: int
    patch_px: int
    vision_dim: int
    vision_layers: int
    language_dim: int
    language_layers: int
    heads: int
    vocabulary: int
    connector: dict[str, int]
    batch: int
    answer_tokens: int
    matrix: int
    """Side of the matrices whose product tells the card's rate."""


PAPER = Sizes(
    image_px=224,
    patch_px=14,
    vision_dim=1024,
    vision_layers=24,
    language_dim=2560,
    language_layers=32,
    heads=32,
    vocabulary=50272,
    connector={},  # its defaults are the paper's
    batch=32,
    answer_tokens=24,
    matrix=8192,
)
TOY = Sizes(
    image_px=56,
    patch_px=14,
    vision_dim=64,
    vision_layers=3,
    language_dim=64,
    language_layers=2,
    heads=4,
    vocabulary=256,
    connector={"dim": 64, "num_queries": 4, "num_blocks": 2, "num_heads": 4},
    batch=8,
    answer_tokens=12,
    matrix=512,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    is_toy = options.toy or not torch.cuda.is_available()
    if is_toy:
        sys.stderr.write("toy sizes: these figures say that the script works, nothing else\n")
        torch.set_num_threads(1)
    device = torch.device("cpu" if is_toy else "cuda")
    sizes = TOY if is_toy else PAPER
    sizes = replace(sizes, batch=options.batch or sizes.batch)
    found = measure(sizes, device, options.rounds)
    card = None if is_toy else torch.cuda.get_device_name(device)
    told = {"machine": machine(), "card": card, "cuda": torch.version.cuda, "is_toy": is_toy}
    found["full_size_tflop"] = count_full_size()
    publish(told | found, rows_of(found))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return how often to run, and at which sizes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--toy", action="store_true", help="small sizes on the CPU")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, help="faces of one update; the paper's 32 without it")
    return parser.parse_args(arguments)


def build(sizes: Sizes, device: torch.device) -> IFas:
    """Return a model of random weights, its frozen parts in half precision on a GPU."""
    vision = CLIPVisionConfig(
        hidden_size=sizes.vision_dim,
        intermediate_size=4 * sizes.vision_dim,
        num_hidden_layers=sizes.vision_layers,
        num_attention_heads=max(1, sizes.vision_dim // 64),
        image_size=sizes.image_px,
        patch_size=sizes.patch_px,
    )
    text = OPTConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.language_dim,
        word_embed_proj_dim=sizes.language_dim,
        ffn_dim=4 * sizes.language_dim,
        num_hidden_layers=sizes.language_layers,
        num_attention_heads=sizes.heads,
        max_position_embeddings=2048,
    )
    widths = {
        "vision_dim": sizes.vision_dim,
        "language_dim": sizes.language_dim,
        "encoder_layers": sizes.vision_layers,
    }
    config = IFasModelConfig(
        settings={"method": "ifas", "connector": widths | sizes.connector},
        vision=vision.to_dict(),
        text=text.to_dict(),
        words=asdict(WORDS),
        pixels=Pixels(sizes.image_px, CLIP_MEAN, CLIP_STD)._asdict(),
    )
    torch.manual_seed(0)
    with device:
        model = IFas(config)
    model.to(device)
    if device.type == "cuda":  # as `ifas_model.train.build` does
        model.vision.to(torch.bfloat16)
        model.language.to(torch.bfloat16)
    return model.train()


def batches(model: IFas, sizes: Sizes, device: torch.device) -> dict[str, dict[str, Tensor]]:
    """Return the same random batch with pixels and with the features of its pixels."""
    shape = (sizes.batch, 3, sizes.image_px, sizes.image_px)
    pixels = torch.randint(256, shape, dtype=torch.uint8, device=device)
    told = (sizes.batch, sizes.answer_tokens)
    targets = torch.randint(24, sizes.vocabulary, told, device=device)
    targets[:, 0] = torch.randint(WORDS.yes, WORDS.no + 1, told[:1], device=device)
    segments = torch.full(told, int(Segment.INTERPRETATION), device=device)
    segments[:, 0] = int(Segment.JUDGMENT)
    answers = {"targets": targets, "segments": segments}
    features = {name: value.float() for name, value in model.look(pixels)._asdict().items()}
    return {"pixels": {"pixels": pixels} | answers, "features": features | answers}


def measure(sizes: Sizes, device: torch.device, rounds: int) -> dict[str, Any]:
    """Time updates turn by turn, and count what they multiply."""
    model = build(sizes, device)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-5, weight_decay=1e-2)
    updates = {
        name: partial(update, model, optimizer, batch)
        for name, batch in batches(model, sizes, device).items()
    }
    flops = {name: count(one) for name, one in updates.items()}  # allocates, too
    seconds = take_turns(updates, rounds)
    rate = matrix_rate(sizes.matrix, device)
    return {
        "sizes": asdict(sizes),
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "learning_parameters": sum(weight.numel() for weight in learning),
        "matrix_tflop_per_s": rate / 1e12,
        "peak_gib": torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None,
        "updates": {
            name: {
                "seconds": spread(times),
                "faces_per_s": sizes.batch / statistics.median(times),
                "tflop": flops[name] / 1e12,
                "share_of_matrix_rate": flops[name] / statistics.median(times) / rate,
            }
            for name, times in seconds.items()
        },
    }


def update(model: IFas, optimizer: torch.optim.Optimizer, batch: dict[str, Tensor]) -> None:
    """Make one update, as the trainer does, and wait for its end."""
    kind = model.device.type
    with torch.autocast(kind, torch.bfloat16, enabled=kind == "cuda"):
        loss = model(**batch).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], 1.0)
    optimizer.step()
    optimizer.zero_grad()
    wait(model.device)


def wait(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def count_full_size() -> dict[str, float]:
    """Return what a full-size update multiplies, with pixels and with features."""
    model = build(PAPER, torch.device("meta"))
    return {
        name: count(lambda batch=batch: model(**batch).loss.backward()) / 1e12
        for name, batch in batches(model, PAPER, torch.device("meta")).items()
    }


def count(work: Callable[[], None]) -> int:
    """Return the floating-point operations of matrix products, attention and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def matrix_rate(side: int, device: torch.device) -> float:
    """Return the most operations a second that a product of two square matrices reached."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))

    def multiply() -> None:
        torch.mm(a, b)
        wait(device)

    return 2 * side**3 / min(take_turns({"product": multiply}, 20)["product"])


def rows_of(found: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the figures for people."""
    yield "measured matrix rate, TFLOP/s", found["matrix_tflop_per_s"]
    for name, one in found["updates"].items():
        yield f"update with {name}, s", one["seconds"]
        yield f"faces/s with {name}", one["faces_per_s"]
        yield f"TFLOP of an update with {name}", one["tflop"]
        yield f"share of the matrix rate with {name}", one["share_of_matrix_rate"]
    for name, tflop in found["full_size_tflop"].items():
        yield f"full size: TFLOP of an update with {name}", tflop
    if found["peak_gib"] is not None:
        yield "peak memory, GiB", found["peak_gib"]


if __name__ == "__main__":
    main()
