"""Our decoding loop beside transformers' `generate`: seconds of a batch, and whether tokens agree.

Both begin at the vision tower's features, so that what they share is left out; vision stands
beside them. Ours has its weights in the order in which `_blip2.load` keeps them. Greedy, sampled
with seeds, and five beams, on the bench model and on the miniature's sizes; transformers' static
cache as well.

Example: python tests/benchmarks/decoding.py --batch-size 64 --rounds 5
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from _captioner import MINIATURE, TINY, Sizes, build, build_captioner, draw_pictures
from _report import machine, publish, ratios, spread, take_turns
from transformers import LogitsProcessorList, OPTForCausalLM

from scf_pipeline.captioners._blip2 import Blip2Captioner
from scf_pipeline.captioners._decoding import reader_for, write
from scf_pipeline.captioners._instructions import Decoding
from scf_pipeline.captioners._seeing import embed, see

LIMITS: dict[str, Any] = {"min_new_tokens": 8, "max_new_tokens": 30}
DECODINGS = {
    "greedy": Decoding(num_beams=1, **LIMITS),
    "sampled": Decoding(num_beams=1, temperature=0.7, top_p=0.95, **LIMITS),
    "beams": Decoding(num_beams=5, **LIMITS),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name, default in (("batch-size", 64), ("rounds", 5), ("threads", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--static", action="store_true", help="transformers' static cache as well")
    parser.add_argument("--tiny", action="store_true", help="try the script, measure nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    about = machine()
    cases = {"tiny": TINY} if options.tiny else {"bench": Sizes(), "miniature": MINIATURE}
    found = {name: measure(sizes, options) for name, sizes in cases.items()}
    rows = []
    for model, figures in found.items():
        rows.append((f"{model}: vision, ms a picture", figures["vision_ms"]))
        for name, one in figures["decodings"].items():
            for side, value in one["ms_a_caption"].items():
                rows.append((f"{model}: {name}, {side}, ms a caption", value))
            rows.append((f"{model}: {name}, generate over ours", one["speed_up"]))
            rows.append(
                (f"{model}: {name}, the same of the processor", one["speed_up_of_processor"])
            )
            rows.append((f"{model}: {name}, the same tokens", str(one["same_tokens"])))
    publish({"machine": about, "options": vars(options), "found": found}, rows)


def measure(sizes: Sizes, options: argparse.Namespace) -> dict[str, Any]:
    """Decode one batch turn by turn."""
    count = options.batch_size
    plain = build_captioner(sizes, DECODINGS["greedy"])
    language = build(sizes)[0].language_model
    pictures = [plain.prepare(one) for one in draw_pictures(count, max(sizes.image_px, 64))]
    pixels = plain.eye.pixel_values(pictures, device=torch.device("cpu"), dtype=torch.float32)
    with torch.inference_mode():
        features = see(plain.model, pixels)
        seeing = take_turns({"vision": lambda: see(plain.model, pixels)}, options.rounds)
        found = {}
        for name, decoding in DECODINGS.items():
            captioner = Blip2Captioner(
                plain.model,
                plain.processor,
                type(plain.instructions)(decoding=decoding),
                screen=plain.screen,
            )
            found[name] = compare(captioner, language, features, options)
    return {
        "vision_ms": spread([1000 * value / count for value in seeing["vision"]]),
        "decodings": found,
    }


def compare(
    captioner: Blip2Captioner,
    language: OPTForCausalLM,
    features: torch.Tensor,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Decode with one setting, by both; `language` is the plain language model."""
    count = len(features)
    sides: dict[str, Callable[[], torch.Tensor]] = {
        "generate": lambda: generated(captioner, language, features),
        "ours": lambda: written(captioner, features),
    }
    if options.static:
        sides["static"] = lambda: generated(
            captioner, language, features, cache_implementation="static"
        )
    tokens = {name: trimmed(captioner, side()) for name, side in sides.items()}
    cpu: dict[str, list[float]] = {}
    seconds = take_turns(sides, options.rounds, warm_up=False, cpu=cpu)
    lengths = [len(row) for row in tokens["ours"]]
    return {
        "ms_a_caption": {
            name: spread([1000 * value / count for value in values])
            for name, values in seconds.items()
        },
        "speed_up_of_processor": spread(ratios(cpu["generate"], cpu["ours"])),
        "speed_up": spread(ratios(seconds["generate"], seconds["ours"])),
        "same_tokens": all(one == tokens["ours"] for one in tokens.values()),
        "tokens_a_caption": sum(lengths) / count,
        "longest": max(lengths),
    }


def written(captioner: Blip2Captioner, features: torch.Tensor) -> torch.Tensor:
    """Return what our loop writes."""
    start = captioner.prompt_ids.expand(len(features), -1)
    prompt = embed(captioner.model, features, start)
    rules = captioner._rules(insist=False)
    sampler = captioner._sampler(range(len(features)), insist=False)
    language = captioner.model.language_model
    reader = reader_for(language, prompt, rules, sampler, captioner.screen)
    return write(reader, prompt, start, rules, sampler).tokens


def generated(
    captioner: Blip2Captioner, language: OPTForCausalLM, features: torch.Tensor, **more: Any
) -> torch.Tensor:
    """Return what `generate` writes, with all that the package asks of a caption."""
    start = captioner.prompt_ids.expand(len(features), -1)
    rules = captioner._rules(insist=False)
    sampler = captioner._sampler(range(len(features)), insist=False)
    if sampler is not None:
        more["logits_processor"] = LogitsProcessorList([sampler])
    out = language.generate(
        inputs_embeds=embed(captioner.model, features, start),
        input_ids=start,
        attention_mask=torch.ones_like(start),
        do_sample=False,
        num_beams=rules.num_beams,
        min_new_tokens=rules.min_new_tokens,
        max_new_tokens=rules.max_new_tokens,
        suppress_tokens=[rules.suppressed],
        eos_token_id=list(rules.end_tokens),
        pad_token_id=rules.pad_token,
        output_logits=True,  # the log-probability of a caption is asked for too
        return_dict_in_generate=True,
        **more,
    )
    return out.sequences[:, start.shape[1] :]


def trimmed(captioner: Blip2Captioner, tokens: torch.Tensor) -> list[list[int]]:
    """Return captions without their ends and padding."""
    ends = set(captioner.end_tokens)
    rows = tokens.tolist()
    return [
        row[: next((at for at, token in enumerate(row) if token in ends), len(row))] for row in rows
    ]


if __name__ == "__main__":
    main()
