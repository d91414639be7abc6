"""BLIP-2 through LAVIS, which runs in an environment and a process of its own.

LAVIS pins a transformers that nothing else here can use. So the worker prepares pictures, and a
child process (`_lavis_child`), started with the interpreter of LAVIS's environment, captions them.
Pictures in 8 bits cross the border one way, JSON both ways, never a pickle. This entry brings no
torch before it loads a checkpoint.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from scf_pipeline.captioners import Backend, Caption, Model, _lavis_child, _lavis_folder
from scf_pipeline.captioners._instructions import PROMPT, Instructions, read_instructions
from scf_pipeline.captioners._lavis_child import LENGTH, LONGEST_JSON
from scf_pipeline.captioners._lavis_folder import resolve
from scf_pipeline.config import to_data
from scf_pipeline.errors import CaptionerError

PLACE = "SCF_LAVIS"
"""Environment variable that names the folder of LAVIS's environment."""

DEFAULT_PLACE = Path(__file__).parents[2] / ".venv-lavis"
"""Where `make lavis-env` puts it."""

VERSIONS = ("salesforce-lavis", "torch", "transformers")

START_S = 1800.0
"""Longest wait for the weights; the largest take minutes to read from a slow disk."""

PATIENCE_S = 3600.0
"""Longest wait for a batch."""

_GRACE_S = 5.0
_LAST_WORDS = 500
"""Characters of what a process wrote before it died, for the error."""


class LavisCaptioner:
    """A checkpoint that a child process runs with LAVIS.

    Args:
        model: As `resolve` returned it.

    Raises:
        CaptionerError: If there is no environment of LAVIS, the folder was changed, or LAVIS cannot
            load it.
    """

    def __init__(self, model: Model) -> None:
        from scf_pipeline.captioners._seeing import Eye

        folder = Path(model.location)
        python = interpreter()
        if (found := _lavis_folder.revision(folder)) != model.revision:
            raise CaptionerError(
                f"A checkpoint must have the files that its revision {model.revision} names, "
                f"but they hash to {found}: it was edited or damaged.",
                where=model.location,
                fix="Restore the folder, or write it again with `scf convert`.",
            )
        self.instructions: Instructions = read_instructions(folder)
        processor = _processor(folder / _lavis_folder.REST)
        self.eye = Eye(processor.image_processor)
        self.child = Child(python, folder)
        self._start(processor.tokenizer)

    def _start(self, tokenizer: Any) -> None:  # noqa: ANN401 - untyped in transformers
        decoding = to_data(self.instructions)["decoding"]
        request = {
            "values": self.eye.values.tolist(),
            "prompt": self.instructions.prompt,
            "decoding": decoding,
        }
        answer = self.child.ask(request, patience_s=START_S)
        if "failure" in answer:
            raise CaptionerError(
                f"LAVIS must be able to load its model, but cannot: {answer['failure']}.",
                where=self.child.where,
                fix="Write the folder again with `scf convert`, or LAVIS's environment with "
                "`make lavis-env`.",
            )
        ours, theirs = tokenizer(self.instructions.prompt)["input_ids"], answer["prompt_ids"]
        if ours != theirs:
            raise CaptionerError(
                f"A prompt must be the same tokens in both layouts, but is {ours} and {theirs}.",
                where=self.child.where,
                fix="Write the folder again with `scf convert`.",
            )

    def prepare(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Bring a picture to the size that the model sees; see `Captioner.prepare`."""
        return self.eye.prepare(picture)

    def caption(
        self, pictures: Sequence[NDArray[np.uint8]], seeds: Sequence[int], *, insist: bool = False
    ) -> list[Caption]:
        """Caption one batch; see `Captioner.caption`.

        Raises:
            CaptionerError: If the process died.
        """
        from scf_pipeline.captioners._saying import INSIST_PENALTY, tidy

        if not pictures:
            return []
        stacked = np.ascontiguousarray(np.stack(pictures), dtype=np.uint8)
        penalty = self.instructions.decoding.repetition_penalty
        request = {
            "shape": stacked.shape,
            "seeds": [seed ^ int(insist) for seed in seeds],
            "repetition_penalty": INSIST_PENALTY if insist else penalty,
        }
        answer = self.child.ask(request, stacked.data, patience_s=PATIENCE_S)
        if "memory" in answer:
            raise MemoryError(answer["memory"])
        return [
            Caption(
                text=tidy(one["text"], prompt=self.instructions.prompt),
                num_tokens=one["num_tokens"],
                mean_log_probability=one["mean_log_probability"],
            )
            for one, _picture in zip(answer["captions"], pictures, strict=True)
        ]


class Child:
    """A process of LAVIS's environment that answers one request after the other.

    Args:
        python: Interpreter of that environment.
        folder: Checkpoint in LAVIS's layout.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self.where = f"{folder} in {python.parents[1]}"
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(  # noqa: S603 - the user's interpreter and our own file
            # -I: neither our packages nor a user's own may stand in for those of LAVIS.
            [str(python), "-I", str(_lavis_child.__file__), str(folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            bufsize=0,
            env=os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"},
        )
        self._requests = cast("IO[bytes]", self.process.stdin)
        self._answers = cast("IO[bytes]", self.process.stdout)
        self.end = weakref.finalize(self, _end, self.process, self._words)

    def ask(
        self, request: dict[str, Any], pictures: memoryview | None = None, *, patience_s: float
    ) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            CaptionerError: If the process dies, says what is no answer, or takes too long.
        """
        if not self.end.alive:
            raise CaptionerError(
                "The process that runs LAVIS must live and answer, but it ended after a failure.",
                where=self.where,
                fix="Load the captioner again.",
            )
        text = json.dumps(request).encode()
        until = time.monotonic() + patience_s
        try:
            self._write(LENGTH.pack(len(text)) + text)
            if pictures is not None:
                self._write(pictures.cast("B"))
            return self._receive(until)
        except TimeoutError as error:
            raise self._failed(f"took more than {patience_s:g} s") from error
        except (EOFError, BrokenPipeError) as error:
            raise self._failed(self._fate()) from error
        except ValueError as error:
            raise self._failed("said what is no answer") from error

    def _receive(self, until: float) -> dict[str, Any]:
        (size,) = LENGTH.unpack(self._read(LENGTH.size, until))
        if size > LONGEST_JSON:
            raise ValueError(f"An answer must take at most {LONGEST_JSON} bytes, but is {size}.")
        answer = json.loads(self._read(size, until))
        if not isinstance(answer, dict):
            raise ValueError(f"An answer must be a mapping, but is {answer!r:.80}.")  # noqa: TRY004 - the child is wrong, no caller
        return answer

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[self._requests.write(rest) :]

    def _read(self, size: int, until: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            wait = max(0.0, until - time.monotonic())
            if not select.select([self._answers], [], [], wait)[0]:
                raise TimeoutError
            if not (found := self._answers.read(size - len(data))):
                raise EOFError
            data += found
        return bytes(data)

    def _fate(self) -> str:
        try:
            code = self.process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            return "fell silent"
        return f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def _failed(self, fate: str) -> CaptionerError:
        words = self._last_words()
        self.end()
        told = f"; its last words: {words}" if words else ""
        return CaptionerError(
            f"The process that runs LAVIS must live and answer, but {fate}{told}",
            where=self.where,
            fix="If it was killed, give this machine more memory or take smaller batches; else "
            "write LAVIS's environment again with `make lavis-env`.",
        )

    def _last_words(self) -> str:
        self._words.seek(0)
        return self._words.read().decode(errors="replace").strip()[-_LAST_WORDS:]


def _processor(folder: Path) -> Any:  # noqa: ANN401 - untyped in transformers
    from transformers import Blip2Processor

    from ifas_model.checkpoint import BROKEN

    try:
        return Blip2Processor.from_pretrained(
            folder, backend="pil", local_files_only=True, trust_remote_code=False
        )
    except BROKEN as error:
        raise CaptionerError(
            f"A checkpoint must hold tokenizer and image processor, but loading failed: {error}.",
            where=str(folder),
            fix="Write the folder again with `scf convert`.",
        ) from error


def _end(process: subprocess.Popen[bytes], words: IO[bytes]) -> None:
    process.kill()
    for file in (process.stdin, process.stdout, words):
        if file is not None:
            file.close()
    process.wait()


def environment() -> Path:
    """Return the folder where LAVIS's environment is, or should be."""
    return Path(os.environ.get(PLACE) or DEFAULT_PLACE).expanduser()


def interpreter() -> Path:
    """Return the interpreter of LAVIS's environment.

    Raises:
        CaptionerError: If there is none.
    """
    python = environment() / "bin" / "python"
    if not python.is_file():
        raise CaptionerError(
            "LAVIS must have an environment of its own, but there is none.",
            where=str(environment()),
            fix="Build it with `make lavis-env` (2 GB; Python 3.11), on each machine that "
            f"captions, or name it by the environment variable {PLACE}.",
        )
    return python


def describe(model: Model) -> dict[str, Any]:
    """Return prompt, decoding, and what LAVIS's environment holds, as plain data."""
    places = [str(folder) for folder in environment().glob("lib/python*/site-packages")]
    found = {one.name: one.version for one in metadata.distributions(path=places)}
    instructions = to_data(read_instructions(Path(model.location)))
    return instructions | {"lavis": {name: found.get(name) for name in VERSIONS}}


def load(model: Model) -> LavisCaptioner:
    """Start LAVIS in its environment with the weights of a folder."""
    return LavisCaptioner(model)


BACKEND = Backend(
    title="BLIP-2 (LAVIS)", prompt=PROMPT, resolve=resolve, describe=describe, load=load
)
