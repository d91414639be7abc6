"""A corpus of coloured squares that a tiny model can learn in seconds."""

import numpy as np
import pyarrow as pa
import pytest

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 220)}


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """72 pictures of 32 px to learn from and 12 to be judged by."""
    from scf_pipeline.captioners._pictures import encode_png
    from scf_pipeline.miniature.generic import GENERIC_SCHEMA
    from scf_pipeline.settings import Settings
    from scf_pipeline.store import ArtifactWriter

    rng = np.random.default_rng(0)
    rows = []
    for number in range(84):
        name = list(COLOURS)[number % 3]
        pixels = np.array(COLOURS[name]) + rng.integers(-25, 26, (32, 32, 3))
        rows.append(
            {
                "picture_id": f"generic/{number}",
                "split": "train" if number < 72 else "test",
                "image": encode_png(np.clip(pixels, 0, 255).astype(np.uint8)),
                "captions": [f"a man in a {name} shirt", f"a {name} shirt", f"a {name} shirt"],
                "attributes": [("shirt_colour", name)],
            }
        )
    path = tmp_path_factory.mktemp("squares")
    writer = ArtifactWriter(path, GENERIC_SCHEMA, settings=Settings("generic", 1, {}, {}))
    writer.write(0, pa.Table.from_pylist(rows, schema=GENERIC_SCHEMA))
    return writer.seal()
