"""BLIP-2 of full size on a GPU: captions a second, transformers' ways beside ours, and the roof.

ViT-g, the Q-Former and OPT-2.7B with random weights in bfloat16 write exactly twenty tokens for
each picture, greedily, from pixels that lie on the card. The ways, turn by turn in one process:

    eager          transformers' `generate`
    static         transformers' `generate` with its static cache, which compiles decoding on a GPU
    ours           the package's decoding
    ours_graph     the same, each step replayed as one CUDA graph over buffers that stay in place
    *_cached       from the vision tower's features, as a vision cache holds them

The roof is what the card's measured matrix and copy rates allow for the same multiplications and
bytes. Goals are printed, not enforced: 450 captions a second on one H100, three times eager at
batch 64, 1,200 a second from cached vision. One command, without network or Ray; without a card
`--toy` tries the script on the CPU with a toy model in float32, where all ways must write the same.

Example: python tests/benchmarks/blip2_gpu.py --batch-sizes 64 256 512
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    OPTConfig,
)

sys.path.insert(0, str(Path(__file__).parents[2]))  # where the package is not installed

from _report import machine, publish, ratios, skip, spread, take_turns

from scf_pipeline.captioners._decoding import reader_for, write
from scf_pipeline.captioners._reading import Buffer, Reader
from scf_pipeline.captioners._rules import Rules
from scf_pipeline.captioners._seeing import embed, see

NEW_TOKENS = 20
PROMPT = [2, 102, 1345, 9]
"""Start token and three words, such as "a photo of"."""

IMAGE, END, PADDING = 50265, 50118, 1
GOALS = {"captions_a_second": 450.0, "over_eager_at_64": 3.0, "cached_a_second": 1200.0}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    options = parse(arguments)
    if not options.toy and not torch.cuda.is_available():
        skip("needs a CUDA device; `--toy` tries the script on the CPU")
    device = torch.device("cpu" if options.toy else "cuda")
    model = build(toy=options.toy, device=device)
    rates = measure_rates(device)
    found = {}
    for count in [4] if options.toy else options.batch_sizes:
        found[count] = measure(model, count, options) | {"roof": roof(model, count, rates)}
    name = "CPU, toy" if options.toy else torch.cuda.get_device_name(device)
    publish(
        {"machine": machine(), "card": name, "rates": rates, "goals": GOALS, "found": found},
        [
            ("card", name),
            ("matrix rate, TFLOP/s", rates["flops"] / 1e12),
            ("copy rate, GB/s read and written", rates["bytes"] / 1e9),
            *(row for count, figures in found.items() for row in rows_of(count, figures)),
        ],
    )


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return sizes and counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 256, 512])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ways", nargs="+", help="only these of the ways")
    parser.add_argument("--toy", action="store_true", help="a toy model on the CPU")
    return parser.parse_args(arguments)


def build(*, toy: bool, device: torch.device) -> Blip2ForConditionalGeneration:
    """Return a BLIP-2 of random weights: with ViT-g and OPT-2.7B, or a toy of the same make."""
    vision: dict[str, Any] = {"initializer_range": 0.02}
    qformer: dict[str, Any] = {"vocab_size": 1}
    text: dict[str, Any] = {
        "hidden_size": 2560,
        "word_embed_proj_dim": 2560,
        "ffn_dim": 10240,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 50304,
        "init_std": 0.02,
    }
    if toy:
        small = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
        vision |= small | {"intermediate_size": 128, "image_size": 28}
        qformer |= small | {"intermediate_size": 128, "encoder_hidden_size": 64}
        text |= small | {"word_embed_proj_dim": 64, "ffn_dim": 128}
    config = Blip2Config(
        vision_config=Blip2VisionConfig(**vision),
        qformer_config=Blip2QFormerConfig(**qformer),
        text_config=OPTConfig(**text, eos_token_id=END, pad_token_id=PADDING),
        num_query_tokens=4 if toy else 32,
        image_token_index=IMAGE,
    )
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32 if toy else torch.bfloat16)
    try:
        with device:
            model = Blip2ForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    with torch.no_grad():
        model.query_tokens.normal_(0, 0.5)
        # Else a random language model repeats one token whatever it sees.
        model.language_model.model.decoder.embed_positions.weight.normal_(0, 0.3)
    return model


class FixedReader(Reader):
    """Reads with buffers that stay in place, so that each step can be replayed as a CUDA graph.

    Args:
        language: The language model.
        room: Tokens of prompt and caption.
        rows: Captions of a batch; all stay to the end.
    """

    def __init__(self, language: Any, *, room: int, rows: int) -> None:
        # Kernels of masked attention want rows of the mask to begin at multiples of 8.
        super().__init__(language, room=room + -room % 8, buffer=FixedBuffer)
        device, dtype = language.device, language.dtype
        shape = (rows, 1, 1, self.layers[0].room)
        self.mask = torch.full(shape, torch.finfo(dtype).min, device=device, dtype=dtype)
        self.tokens = torch.zeros((rows, 1), dtype=torch.long, device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.logits: Tensor | None = None
        for layer in self.layers:
            layer.position = self.position

    def read(self, prompt: Tensor) -> Tensor:
        """Return the logits after a prompt, (B, S, D) -> (B, W)."""
        if self.graph is None and prompt.is_cuda:
            self._begin(prompt)
            self._capture()
        return self._begin(prompt)

    def read_tokens(self, tokens: Tensor, _seen: Tensor | None = None) -> Tensor:
        """Return the logits after each caption's next token, (B, 1) -> (B, 1, W)."""
        self.mask[..., self.length] = 0
        self.position.fill_(self.length)
        self.tokens.copy_(tokens)
        self.length += 1
        if self.graph is None:
            self._step()
        else:
            self.graph.replay()
        return self.logits.float()

    def _begin(self, prompt: Tensor) -> Tensor:
        for layer in self.layers:
            layer.length = 0
        self.mask.fill_(torch.finfo(self.mask.dtype).min)
        self.mask[..., : prompt.shape[1]] = 0
        self.position.fill_(prompt.shape[1])
        return super().read(prompt)

    def _step(self) -> None:
        self.logits = self.language(
            input_ids=self.tokens,
            attention_mask=self.mask,
            position_ids=self.position.expand(len(self.tokens), 1),
            use_cache=True,
            **{self.cache_name: self.cache},
        ).logits

    def _capture(self) -> None:
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._step()


class FixedBuffer(Buffer):
    """Keys and values of a layer, all of which are returned; a mask hides what is not yet there."""

    position: Tensor

    def update(
        self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Begin with a prompt, or add one token where `position` says."""
        if key_states.shape[-2] > 1:
            return super().update(key_states, value_states)
        self.keys.index_copy_(2, self.position, key_states)
        self.values.index_copy_(2, self.position, value_states)
        return self.keys, self.values


def ways_of(model: Blip2ForConditionalGeneration, count: int) -> dict[str, Callable[[], Tensor]]:
    """Return the ways of captioning one batch, each of which returns its new tokens, (B, T)."""
    device = model.device
    torch.manual_seed(1)
    side = model.config.vision_config.image_size
    pixels = torch.randn((count, 3, side, side), device=device, dtype=model.dtype)
    start = torch.tensor([IMAGE] * model.config.num_query_tokens + PROMPT, device=device)
    start = start.expand(count, -1)
    features = see(model, pixels)
    language = model.language_model
    fixed = FixedReader(language, room=start.shape[1] + NEW_TOKENS, rows=count)
    rules = Rules(
        end_tokens=[END],
        pad_token=PADDING,
        suppressed=IMAGE,
        min_new_tokens=NEW_TOKENS,
        max_new_tokens=NEW_TOKENS,
    )

    def generate(**more: Any) -> Tensor:
        out = model.generate(
            pixel_values=pixels,
            input_ids=start,
            attention_mask=torch.ones_like(start),
            do_sample=False,
            min_new_tokens=NEW_TOKENS,
            max_new_tokens=NEW_TOKENS,
            suppress_tokens=[IMAGE],
            eos_token_id=[END],
            pad_token_id=PADDING,
            **more,
        )
        return out[:, start.shape[1] :]

    def ours(seen: Tensor | None, reader: Reader | None = None) -> Tensor:
        seen = see(model, pixels) if seen is None else seen
        prompt = embed(model, seen, start)
        return write(reader or reader_for(language, prompt, rules), prompt, start, rules).tokens

    return {
        "eager": generate,
        "static": lambda: generate(cache_implementation="static"),
        "ours": lambda: ours(None),
        "ours_graph": lambda: ours(None, fixed),
        "ours_cached": lambda: ours(features),
        "ours_graph_cached": lambda: ours(features, fixed),
    }


@torch.inference_mode()
def measure(
    model: Blip2ForConditionalGeneration, count: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Caption one batch in all ways, turn by turn."""
    ways = ways_of(model, count)
    if options.ways:
        ways = {name: way for name, way in ways.items() if name in options.ways}
    tokens, peaks, failed = {}, {}, {}
    for name, way in list(ways.items()):
        try:
            peaks[name], tokens[name] = peak_memory(way)
        except torch.OutOfMemoryError as error:
            failed[name] = str(error)
            del ways[name]
    seconds = take_turns({name: synchronized(way) for name, way in ways.items()}, options.rounds)
    first = next(iter(tokens.values()))
    figures: dict[str, Any] = {
        "captions_a_second": {
            name: spread([count / value for value in values]) for name, values in seconds.items()
        },
        "peak_gib": peaks,
        "out_of_memory": failed,
        "tokens_as_the_first_way": {
            name: float((found == first).float().mean()) for name, found in tokens.items()
        },
    }
    if "eager" in seconds:
        figures["over_eager"] = {
            name: spread(ratios(seconds["eager"], values)) for name, values in seconds.items()
        }
    return figures


def peak_memory(way: Callable[[], Tensor]) -> tuple[float | None, Tensor]:
    """Return the most memory that a way takes, in GiB, on a card, and what it wrote."""
    if not torch.cuda.is_available():
        return None, way()
    torch.cuda.reset_peak_memory_stats()
    tokens = way()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() / 2**30, tokens


def synchronized(way: Callable[[], object]) -> Callable[[], None]:
    """Return a way that ends when the card has ended."""

    def run() -> None:
        way()
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return run


def measure_rates(device: torch.device) -> dict[str, float]:
    """Return how many multiplications-and-additions, times two, and bytes a second are reached."""
    on_gpu = device.type == "cuda"
    side, numbers = (8192, 2**30) if on_gpu else (512, 2**22)
    dtype = torch.bfloat16 if on_gpu else torch.float32
    left, right = (torch.randn((side, side), device=device, dtype=dtype) for _ in range(2))
    source = torch.zeros(numbers, device=device, dtype=torch.uint8)
    target = torch.empty_like(source)

    def rate(work: Callable[[], object], amount: float) -> float:
        run = synchronized(work)
        run()
        times = []
        for _ in range(9):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
        return amount / statistics.median(times)

    return {
        "flops": rate(lambda: left @ right, 2 * side**3),
        "bytes": rate(lambda: target.copy_(source), 2 * numbers),
    }


def roof(
    model: Blip2ForConditionalGeneration, count: int, rates: dict[str, float]
) -> dict[str, float]:
    """Return captions a second if every multiplication and byte went at the measured rates."""
    queries, prompt = model.config.num_query_tokens, model.config.num_query_tokens + len(PROMPT)
    vision, decoder = model.config.vision_config, model.language_model.model.decoder
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    seeing = 2 * patches * size_of(model.vision_model)
    seeing += 4 * vision.num_hidden_layers * patches**2 * vision.hidden_size
    # Keys and values of cross-attention are made of patches, all else of queries.
    keys = size_of(
        model.qformer, ("crossattention.attention.key", "crossattention.attention.value")
    )
    asking = 2 * (queries * (size_of(model.qformer) - keys) + patches * keys)
    layers, width = len(decoder.layers), model.config.text_config.hidden_size
    head = model.language_model.lm_head.weight.numel()
    reading = 2 * prompt * size_of(decoder.layers) + 2 * layers * prompt**2 * width + 2 * head
    itemsize = model.dtype.itemsize
    writing, multiplied = 0.0, 0.0
    for length in range(prompt + 1, prompt + NEW_TOKENS):
        work = count * (2 * (size_of(decoder.layers) + head) + 4 * layers * length * width)
        moved = itemsize * (size_of(decoder.layers) + head + count * 2 * layers * length * width)
        multiplied += work / count
        writing += max(work / rates["flops"], moved / rates["bytes"])
    cached = count * (asking + reading) / rates["flops"] + writing
    return {
        "captions_a_second": count / (cached + count * seeing / rates["flops"]),
        "cached_a_second": count / cached,
        "tflop_a_caption": (seeing + asking + reading + multiplied) / 1e12,
    }


def size_of(part: torch.nn.Module, names: Sequence[str] = ("",)) -> int:
    """Return how many numbers the matrices of a part hold, of those whose name has one of these."""
    return sum(
        weight.numel()
        for name, weight in part.named_parameters()
        if weight.ndim > 1 and any(wanted in name for wanted in names)
    )


def rows_of(count: int, found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the table's rows of one batch size."""
    rows: list[tuple[str, Any]] = []
    for name, value in found["captions_a_second"].items():
        rows.append((f"batch {count}: {name}, captions a second", value))
        if (peak := found["peak_gib"][name]) is not None:
            rows.append((f"batch {count}: {name}, peak GiB", peak))
    rows += [(f"batch {count}: {name}, out of memory", "yes") for name in found["out_of_memory"]]
    rows += [
        (f"batch {count}: {name} over eager", value)
        for name, value in found.get("over_eager", {}).items()
        if name != "eager"
    ]
    rows += [(f"batch {count}: roof, {name}", value) for name, value in found["roof"].items()]
    rows += [
        (f"batch {count}: {name}, tokens as the first way's", value)
        for name, value in found["tokens_as_the_first_way"].items()
    ]
    return rows


if __name__ == "__main__":
    main()
