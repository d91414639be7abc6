"""The other side of `blip2_lavis`: runs a checkpoint with LAVIS, in the environment of LAVIS.

    <environment>/bin/python -I _lavis_child.py FOLDER

Nothing of SCF can be imported there, so this file stands alone. Both ways go frames: four bytes of
length, that much JSON, and after a request of captions the pictures, bare bytes. The first request
tells how to see and speak; it is answered when the weights are loaded. Each other one is a batch::

    {"values": [[256 floats] x 3], "prompt": "a photo of", "decoding": {...}}
    -> {"prompt_ids": [...], "versions": {...}}
    {"shape": [B, 3, side, side], "seeds": [...], "repetition_penalty": 1.0} and the pictures
    -> {"captions": [{"text": ..., "num_tokens": ..., "mean_log_probability": ...}, ...]}
    -> {"memory": "..."}        it did not suffice for the batch; the next may come
    -> {"failure": "..."}       the folder is not what it should be; the process ends

The end of the requests ends the process.

Shapes in this file:
    B batch, S tokens of prompt and caption, Q query tokens, D language width, W vocabulary.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

LENGTH = struct.Struct("<I")
LONGEST_JSON = 2**24
MADE_BY_THE_MODEL = ("Qformer.bert.embeddings.position_ids", "opt_model.lm_head.weight")
"""What a checkpoint need not hold: a constant, and OPT's head, which is its word embeddings."""


def main() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    requests = sys.stdin.buffer
    folder = Path(sys.argv[1])
    if (settings := receive(requests)) is None:
        return
    try:
        speaker = Speaker(build(folder), settings)
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, ImportError) as error:
        send(answers, {"failure": f"{type(error).__name__}: {error}"})
        return
    names = ("salesforce-lavis", "torch", "transformers")
    versions = {name: version(name) for name in names}
    send(answers, {"prompt_ids": speaker.prompt_ids, "versions": versions})
    while (request := receive(requests)) is not None:
        send(answers, answer(speaker, request, requests))


def answer(speaker: Speaker, request: dict[str, Any], requests: IO[bytes]) -> dict[str, Any]:
    """Caption one batch, or say that memory does not suffice for it."""
    import torch

    shape = [int(size) for size in request["shape"]]
    pictures = torch.frombuffer(bytearray(read(requests, count_of(shape))), dtype=torch.uint8).view(
        shape
    )
    try:
        return {"captions": speaker.caption(pictures, request)}
    except MemoryError as error:
        return {"memory": str(error) or "no memory"}
    except RuntimeError as error:  # torch's, of a GPU and of a CPU
        if "out of memory" in str(error) or "can't allocate memory" in str(error):
            return {"memory": str(error).splitlines()[0]}
        raise


def count_of(shape: list[int]) -> int:
    """Return how many numbers an array of a shape holds."""
    count = 1
    for size in shape:
        count *= size
    return count


def receive(requests: IO[bytes]) -> dict[str, Any] | None:
    """Return the next request's JSON, or ``None`` at their end."""
    head = requests.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (size,) = LENGTH.unpack(head)
    if size > LONGEST_JSON:
        raise ValueError(f"A request must take at most {LONGEST_JSON} bytes, but takes {size}.")
    return dict(json.loads(read(requests, size)))


def read(requests: IO[bytes], size: int) -> bytes:
    """Return so many bytes."""
    data = requests.read(size)
    if len(data) < size:
        raise EOFError("The requests end within a request.")
    return data


def send(answers: IO[bytes], data: dict[str, Any]) -> None:
    """Write one frame."""
    text = json.dumps(data).encode()
    answers.write(LENGTH.pack(len(text)) + text)
    answers.flush()


def build(folder: Path) -> Any:  # noqa: ANN401 - LAVIS is untyped
    """Return LAVIS's `Blip2OPT` at the sizes of a folder, with its weights, in evaluation mode.

    Its own constructor knows the published sizes alone and fetches its parts over the network.

    Raises:
        ValueError: If a weight is missing, has another shape, or has no place in the model.
    """
    import torch
    from lavis.models.blip2_models.blip2_opt import Blip2OPT
    from lavis.models.eva_vit import convert_weights_to_fp16

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Blip2OPT.__new__(Blip2OPT)
    torch.nn.Module.__init__(model)
    _add_eye(model, config)
    _add_qformer(model, config)
    _add_language(model, config, folder)
    load(model, folder)
    model.eval().requires_grad_(False)
    if torch.cuda.is_available():  # in the precision that LAVIS gives its parts
        convert_weights_to_fp16(model.visual_encoder)
        model.opt_model.half()
        model.to("cuda")
    return model


def _add_eye(model: Any, config: dict[str, Any]) -> None:  # noqa: ANN401
    from lavis.models.blip2_models.blip2 import LayerNorm
    from lavis.models.eva_vit import VisionTransformer
    from torch import nn

    sizes = dict(config["visual_encoder"])
    norm = partial(nn.LayerNorm, eps=sizes.pop("layer_norm_eps"))
    model.visual_encoder = VisionTransformer(
        **sizes, qkv_bias=True, use_mean_pooling=False, drop_path_rate=0.0, norm_layer=norm
    )
    model.ln_vision = LayerNorm(model.visual_encoder.num_features)


def _add_qformer(model: Any, config: dict[str, Any]) -> None:  # noqa: ANN401
    import torch
    from lavis.models.blip2_models.Qformer import BertConfig, BertLMHeadModel

    sizes = BertConfig(**config["Qformer"], add_cross_attention=True)
    model.Qformer = BertLMHeadModel(sizes)
    # What reads text is taken out, as LAVIS does where OPT does the reading.
    model.Qformer.cls = None
    model.Qformer.bert.embeddings.word_embeddings = None
    model.Qformer.bert.embeddings.position_embeddings = None
    for layer in model.Qformer.bert.encoder.layer:
        layer.output = layer.intermediate = None
    queries = torch.zeros(1, sizes.query_length, sizes.hidden_size)
    model.query_tokens = torch.nn.Parameter(queries)


def _add_language(model: Any, config: dict[str, Any], folder: Path) -> None:  # noqa: ANN401
    from lavis.models.blip2_models.modeling_opt import OPTConfig, OPTForCausalLM
    from torch import nn
    from transformers import GPT2Tokenizer

    model.opt_tokenizer = GPT2Tokenizer(
        str(folder / "vocab.json"),
        str(folder / "merges.txt"),
        add_bos_token=True,
        **config["opt_tokenizer"],
    )
    model.opt_model = OPTForCausalLM(OPTConfig(**config["opt_model"]))
    model.opt_model.generation_config.suppress_tokens = [config["image_token_id"]]
    model.opt_model.generation_config.top_k = 0  # else only the 50 best tokens would be drawn
    model.opt_proj = nn.Linear(model.Qformer.config.hidden_size, model.opt_model.config.hidden_size)
    model.eos_token_id, model.prompt = config["eos_token_id"], ""


def load(model: Any, folder: Path) -> None:  # noqa: ANN401
    """Put the weights of a folder into the model, every one and no other."""
    from safetensors.torch import load_file

    missing = set(model.state_dict()) - set(MADE_BY_THE_MODEL)
    for file in sorted(folder.glob("*.safetensors")):
        found = load_file(file)
        if strange := model.load_state_dict(found, strict=False).unexpected_keys:
            raise ValueError(f"LAVIS has no place for the weight {strange[0]!r} of {file.name}")
        missing -= set(found)
    if missing:
        raise ValueError(f"LAVIS lacks the weight {min(missing)!r}")


class Speaker:
    """Captions with a model, and remembers what LAVIS does not hand out.

    Args:
        model: From `build`.
        settings: The first request.
    """

    def __init__(self, model: Any, settings: dict[str, Any]) -> None:  # noqa: ANN401
        import torch

        self.model, self.prompt = model, settings["prompt"]
        self.decoding: dict[str, Any] = settings["decoding"]
        self.device = model.query_tokens.device
        self.values = torch.tensor(settings["values"], device=self.device)  # (3, 256)
        self.prompt_ids: list[int] = model.opt_tokenizer(self.prompt).input_ids
        self.said: dict[str, Any] = {}
        # LAVIS returns the text alone: the tokens of it are kept as they pass.
        self._generate, model.opt_model.generate = model.opt_model.generate, self._remember

    def _remember(self, **options: Any) -> Any:  # noqa: ANN401
        self.said = options | {"tokens": self._generate(**options)}
        return self.said["tokens"]

    def caption(self, pictures: Any, request: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ANN401
        """Return captions of pictures in 8 bits, (B, 3, side, side).

        Where tokens are drawn, each picture is a batch of its own with a seed of its own: LAVIS
        draws for all rows of a batch from one generator.
        """
        import torch

        images = self.see(pictures)
        if self.decoding["temperature"] is None:
            return self._caption_batch(images, request)
        found = []
        for row, seed in enumerate(request["seeds"]):
            torch.manual_seed(seed)
            found += self._caption_batch(images[row : row + 1], request)
        return found

    def see(self, pictures: Any) -> Any:  # noqa: ANN401
        """Return pictures as numbers of the model's own range, (B, 3, side, side)."""
        import torch

        pixels = pictures.to(self.device).long()
        return torch.stack([self.values[c][pixels[:, c]] for c in range(3)], dim=1)

    def _caption_batch(self, images: Any, request: dict[str, Any]) -> list[dict[str, Any]]:  # noqa: ANN401
        decoding = self.decoding
        texts = self.model.generate(
            {"image": images, "prompt": self.prompt},
            use_nucleus_sampling=decoding["temperature"] is not None,
            temperature=decoding["temperature"] or 1.0,
            top_p=decoding["top_p"],
            num_beams=decoding["num_beams"],
            max_length=decoding["max_new_tokens"],  # LAVIS means new tokens here, and all below
            min_length=len(self.prompt_ids) + decoding["min_new_tokens"],
            repetition_penalty=request["repetition_penalty"],
            length_penalty=decoding["length_penalty"],
        )
        return [
            {"text": text, "num_tokens": len(told), "mean_log_probability": mean(told)}
            for text, told in zip(texts, self._told(), strict=True)
        ]

    def _told(self) -> list[list[float]]:
        """Return the log-probability of each new token of the last batch, its end left out."""
        import torch

        tokens, beams = self.said["tokens"], self.decoding["num_beams"]  # (B, S)
        soft = self.said["query_embeds"][::beams]  # (B, Q, D)
        start, skip = len(self.prompt_ids), soft.shape[1] - 1
        words = self.model.opt_model.get_input_embeddings()(tokens)
        with torch.inference_mode(), torch.autocast("cuda", enabled=self.device.type == "cuda"):
            logits = self.model.opt_model(
                inputs_embeds=torch.cat([soft.to(words.dtype), words], dim=1),
                attention_mask=tokens.new_ones(len(tokens), soft.shape[1] + tokens.shape[1]),
                return_dict=True,
            ).logits  # (B, Q + S, W)
            new = tokens[:, start:]
            told = logits[:, skip + start : -1].float().log_softmax(-1)
            told = told.gather(2, new.unsqueeze(-1)).squeeze(-1)
        lengths = (new.eq(self.model.eos_token_id).cumsum(1) == 0).sum(1).tolist()
        return [row[:length] for row, length in zip(told.tolist(), lengths, strict=True)]


def mean(values: list[float]) -> float:
    """Return the mean, of nothing 0."""
    return sum(values) / len(values) if values else 0.0


if __name__ == "__main__":
    main()
