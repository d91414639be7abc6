"""Runs in LAVIS's environment: what its modules make of an array of pixels, for `test_blip2_lavis`.

<environment>/bin/python lavis_parity.py _lavis_child.py FOLDER IN.npz OUT.npz
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch


def main(child: str, folder: str, given: str, out: str) -> None:
    """Write the features of each module, and the names of LAVIS's weights."""
    spec = importlib.util.spec_from_file_location("lavis_child", child)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.build(Path(folder)).float().cpu()
    with np.load(given) as arrays, torch.inference_mode():
        pixels, ids, seen = (torch.from_numpy(arrays[name]) for name in ("pixels", "ids", "seen"))
        found = {"seen": model.ln_vision(model.visual_encoder(pixels))}
        queries = model.query_tokens.expand(len(seen), -1, -1)
        attended = torch.ones(seen.shape[:2], dtype=torch.long)
        answers = model.Qformer.bert(
            query_embeds=queries,
            encoder_hidden_states=seen,
            encoder_attention_mask=attended,
            return_dict=True,
        ).last_hidden_state
        found["answers"], found["projected"] = answers, model.opt_proj(answers)
        words = model.opt_model.get_input_embeddings()(ids)
        found["logits"] = model.opt_model(
            inputs_embeds=torch.cat([found["projected"], words], dim=1),
            attention_mask=torch.ones(len(ids), queries.shape[1] + ids.shape[1]),
            return_dict=True,
        ).logits
    names = sorted(set(model.state_dict()) - set(module.MADE_BY_THE_MODEL))
    np.savez(out, names=np.array(names), **{name: array.numpy() for name, array in found.items()})


if __name__ == "__main__":
    main(*sys.argv[1:])
