import numpy as np
import torch

from scf_pipeline.captioners._pictures import encode_png
from scf_pipeline.captioners._seeing import pixel_values, see
from scf_pipeline.miniature.models import Blip2Sizes, build_blip2
from scf_pipeline.miniature.sentences import learn_tokenizer, look_at

SIZES = Blip2Sizes(image_px=32, dim=32, vision_layers=1, qformer_layers=1, language_layers=1)


def test_cached_features_are_those_that_the_processor_leads_to():
    model, processor = build_blip2(learn_tokenizer([["a man"]]), SIZES, seed=0)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    assert encode_png(pictures[0])
    with torch.no_grad():
        wanted = see(model.eval(), pixel_values(processor, list(pictures)))
    assert torch.allclose(look_at(model, pictures), wanted, atol=1e-5)


def test_the_tokenizer_knows_captions_question_and_judgments():
    tokenizer = learn_tokenizer([["a man with red hair"], ["a statue"]])
    text = "Question: Is this photo of a real person? Answer: Yes. This is a statue with hair"
    words = tokenizer.tokenize(text)
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text
    assert len(words) == len(text.split()) + text.count(":") + text.count(".") + text.count("?")
