import math
import shutil
from dataclasses import replace

import pytest
import torch
from transformers import AutoTokenizer

from ifas_model.errors import ModelError
from ifas_model.language import (
    adapt,
    answer_logits,
    copy_weights,
    interpret,
    learn_words,
    load_language,
    load_tokenizer,
    margin_of,
    write_answers,
    write_captions,
)
from ifas_model.loss import Segment
from ifas_model.prompt import QUESTION, answer
from ifas_model.vocabulary import Label
from scf_pipeline.miniature.tokenizer import learn_opt_tokenizer

PROMPT = "Question: {question} Answer:"
TEXTS = ["This is a man with a beard", "", "This is a woman on a screen", "This is a house"]
LABELS = [1, 1, 0, 0]
SOFT = 5


@pytest.fixture(scope="module")
def language(language_folder):
    """OPT in which every word attends sharply to those before it, so that order and all matter."""
    language = load_language(language_folder).requires_grad_(False)
    for layer in language.model.decoder.layers:
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            getattr(layer.self_attn, name).weight *= 3
    return language


@pytest.fixture(scope="module")
def tokenizer(language_folder):
    return load_tokenizer(language_folder, PROMPT)[0]


@pytest.fixture(scope="module")
def words(language_folder):
    return load_tokenizer(language_folder, PROMPT)[1]


@pytest.fixture
def soft():
    return torch.randn(4, SOFT, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def answers(tokenizer, words):
    return write_answers(tokenizer, words, LABELS, TEXTS, max_tokens=48)


def embed(language, ids):
    return language.model.decoder.embed_tokens(torch.tensor(ids))


def next_logits(language, soft, ids):
    """What comes after one row of soft tokens and ids, from a pass of its own."""
    sequence = torch.cat([soft, embed(language, ids)])[None]
    return language(inputs_embeds=sequence).logits[0, -1]


def test_words_are_those_of_the_prompt_and_the_judgments(tokenizer, words):
    assert tokenizer.decode(words.prompt) == f"</s>Question: {QUESTION} Answer:"
    assert tokenizer.decode(words.caption_prompt) == "</s>a photo of"
    known = (words.yes, words.no, words.end)
    assert [tokenizer.decode([i]) for i in known] == [" Yes", " No", "\n"]
    assert tokenizer.decode(words.separator) == "."
    assert words.pad == tokenizer.pad_token_id


def test_another_prompt_is_read_as_it_stands(tokenizer):
    words = learn_words(tokenizer, "{question}")
    assert tokenizer.decode(words.prompt) == f"</s>{QUESTION}"


def test_a_prompt_without_the_question_is_refused(tokenizer):
    with pytest.raises(ValueError, match=r"`prompt` must hold \{question\}, but is 'Answer:'"):
        learn_words(tokenizer, "Answer:")


@pytest.mark.parametrize(("text", "lost"), [("No No", " Yes"), ("Yes Yes", " No")])
def test_a_judgment_of_several_tokens_is_refused(text, lost):
    with pytest.raises(ValueError, match=f"'{lost}' must be one token"):
        learn_words(learn_opt_tokenizer([f" {text}\n"]), PROMPT)


def test_a_folder_whose_tokenizer_does_not_know_the_judgments_is_refused(tmp_path):
    learn_opt_tokenizer([" maybe"]).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="' Yes' must be one token") as caught:
        load_tokenizer(tmp_path, PROMPT)
    assert caught.value.where == str(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(language_folder, tmp_path):
    copy = shutil.copytree(language_folder, tmp_path / "copy")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(ModelError):
        load_tokenizer(copy, PROMPT)


def test_answers_read_as_the_papers_do(tokenizer, words, answers):
    targets, _ = answers
    texts = [
        tokenizer.decode(row[row != words.pad], skip_special_tokens=True).strip(" ")
        for row in targets
    ]
    assert texts == [
        answer(Label.BONA_FIDE, "a man with a beard").text + "\n",
        "Yes",
        answer(Label.ATTACK, "a woman on a screen").text + "\n",
        answer(Label.ATTACK, "a house").text + "\n",
    ]


def test_segments_part_an_answer_into_judgment_interpretation_and_padding(words, answers):
    targets, segments = answers
    assert (segments[:, 0] == Segment.JUDGMENT).all()
    assert targets[:, 0].tolist() == [words.yes, words.yes, words.no, words.no]
    assert not (segments[:, 1:] == Segment.JUDGMENT).any()
    assert torch.equal(segments == Segment.IGNORED, targets == words.pad)
    told = (segments == Segment.INTERPRETATION).sum(1).tolist()
    assert told == [len(text.split()) + 2 if text else 0 for text in TEXTS]  # stop, words, end


@pytest.mark.parametrize("limit", [1, 3])
def test_long_interpretations_are_cut_and_still_end(tokenizer, words, limit):
    targets, segments = write_answers(tokenizer, words, [1], TEXTS[:1], max_tokens=limit)
    assert targets.shape == (1, limit + 3)
    assert targets[0, -1] == words.end
    assert segments[0, -1] == Segment.INTERPRETATION
    whole = write_answers(tokenizer, words, [1], TEXTS[:1], max_tokens=48)[0]
    assert torch.equal(targets[0, :-1], whole[0, : limit + 2])


def test_captions_are_told_whole(tokenizer, words):
    targets, segments = write_captions(
        tokenizer, words, ["a tree", "a house in front of a tree"], max_tokens=4
    )
    texts = [tokenizer.decode(row[row != words.pad]) for row in targets]
    assert texts == [" a tree\n", " a house in front\n"]
    assert segments[1].tolist() == [Segment.INTERPRETATION] * 5
    assert segments[0].tolist() == [Segment.INTERPRETATION] * 3 + [Segment.IGNORED] * 2


def test_every_logit_comes_from_what_stands_before_its_token(language, words, soft, answers):
    """Each equals the last of a pass over soft tokens, prompt and the answer up to there."""
    targets, segments = answers
    found = answer_logits(language, soft, words.prompt, targets)
    assert found.shape == (*targets.shape, language.config.vocab_size)
    for row in range(4):
        for place in range(int((segments[row] != Segment.IGNORED).sum())):
            before = [*words.prompt, *targets[row, :place].tolist()]
            expected = next_logits(language, soft[row], before)
            assert torch.allclose(found[row, place], expected, atol=1e-4), (row, place)


def test_the_judgment_is_asked_for_without_an_answer(language, words, soft, answers):
    asked = answer_logits(language, soft, words.prompt)
    assert asked.shape == (4, 1, language.config.vocab_size)
    told = answer_logits(language, soft, words.prompt, answers[0])
    assert torch.allclose(asked[:, 0], told[:, 0], atol=1e-5)


def test_what_pads_an_answer_is_never_seen(language, words, soft, answers):
    targets, segments = answers
    noisy = torch.where(segments == Segment.IGNORED, 7, targets)
    plain, other = (answer_logits(language, soft, words.prompt, t) for t in (targets, noisy))
    told = segments != Segment.IGNORED
    assert torch.equal(plain[told], other[told])


@pytest.mark.parametrize("padding", [1, 4])
def test_left_padding_under_a_mask_gives_the_same_margin(language, words, soft, padding):
    """Sequences padded on the left, as OPT is used elsewhere, are judged alike."""
    asked = embed(language, words.prompt).expand(4, -1, -1)
    sequence = torch.cat([soft, asked], dim=1)
    mask = torch.ones(sequence.shape[:2], dtype=torch.long)
    noise = torch.randn(4, padding, 16, generator=torch.Generator().manual_seed(1))
    logits = language(
        inputs_embeds=torch.cat([noise, sequence], dim=1),
        attention_mask=torch.cat([torch.zeros(4, padding, dtype=torch.long), mask], dim=1),
    ).logits[:, -1:]
    ours = answer_logits(language, soft, words.prompt)
    assert torch.allclose(margin_of(logits, words), margin_of(ours, words), atol=1e-5)


def test_p_yes_is_the_softmax_over_both_judgments(language, words, soft):
    logits = answer_logits(language, soft, words.prompt)
    chances = logits[:, 0].double().softmax(-1)
    yes, no = chances[:, words.yes], chances[:, words.no]
    found = torch.sigmoid(margin_of(logits, words)).double()
    assert torch.allclose(found, yes / (yes + no), atol=1e-6)


def test_swapping_the_judgments_turns_the_margin_round(language, words, soft):
    logits = answer_logits(language, soft, words.prompt)
    swapped = replace(words, yes=words.no, no=words.yes)
    margin = margin_of(logits, words)
    assert torch.equal(margin_of(logits, swapped), -margin)
    assert (margin != 0).all()


def test_a_margin_is_float32_whatever_the_logits_are(words):
    logits = torch.zeros(1, 1, 2000, dtype=torch.bfloat16)
    logits[0, 0, words.yes], logits[0, 0, words.no] = 256, 1
    assert margin_of(logits, words).item() == 255  # bfloat16 would round it to 256 or 254
    assert margin_of(logits, words).dtype == torch.float32


def slow_interpret(language, soft, words, judgment, max_tokens):
    ids = []
    for _ in range(len(words.separator) + max_tokens):
        said = [*words.prompt, judgment, *ids]
        token = int(next_logits(language, soft, said).argmax())
        if token == words.end:
            break
        ids.append(token)
    return ids


def judged(words, labels=LABELS):
    return torch.tensor([words.yes if label else words.no for label in labels])


def test_interpretations_are_the_likeliest_words_one_after_another(language, words, soft):
    found = interpret(language, soft, words, judged(words), max_tokens=6)
    for row, judgment in enumerate(judged(words).tolist()):
        assert found[row] == slow_interpret(language, soft[row], words, judgment, 6)
        assert len(found[row]) == 7


def test_an_interpretation_ends_where_the_end_is_said(language, words, soft):
    """Each row by itself: some end while others go on."""
    free = interpret(language, soft, words, judged(words), max_tokens=8)
    for end in {token for row in free for token in row}:
        found = interpret(language, soft, replace(words, end=end), judged(words), max_tokens=8)
        assert found == [row[: row.index(end)] if end in row else row for row in free]
    assert any(0 < len([row for row in free if token in row]) < 4 for token in free[0])


def test_interpretations_go_with_the_judgment_that_is_given(language, words, soft):
    both = [
        interpret(language, soft, words, judged(words, [label] * 4), max_tokens=8)
        for label in (0, 1)
    ]
    assert both[0] != both[1]
    mixed = interpret(language, soft, words, judged(words, [0, 1, 0, 1]), max_tokens=8)
    assert mixed == [both[label][row] for row, label in enumerate([0, 1, 0, 1])]


def test_fresh_adapters_change_nothing_and_know_query_and_value_only(
    language_folder, language, words, soft
):
    adapted = load_language(language_folder)
    copy_weights(language, adapted)
    adapt(adapted, rank=2, alpha=6)
    names = [name for name, _ in adapted.named_parameters() if "lora_" in name]
    assert len(names) == 2 * 2 * 2  # layers, projections, matrices
    assert {name.split(".")[-4] for name in names} == {"q_proj", "v_proj"}
    with torch.no_grad():
        mine, theirs = (answer_logits(m, soft, words.prompt) for m in (adapted, language))
    assert torch.allclose(mine, theirs, atol=1e-5)


def test_adapters_add_their_product_over_the_rank_times_alpha(language_folder):
    adapted = load_language(language_folder)
    adapt(adapted, rank=2, alpha=6)
    layer = adapted.model.decoder.layers[1].self_attn.q_proj
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.nn.init.normal_(up)
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    expected = layer.base_layer(x) + 6 / 2 * (x @ down.T @ up.T)
    assert torch.allclose(layer(x), expected, atol=1e-5)
    assert math.isclose(layer.scaling["default"], 3.0)


@pytest.mark.parametrize("is_adapted", [False, True])
def test_weights_are_copied_whole(language, words, soft, is_adapted):
    torch.manual_seed(5)
    other = type(language)(language.config).eval()
    if is_adapted:
        adapt(other, rank=2, alpha=4)
    with torch.no_grad():
        before = answer_logits(other, soft, words.prompt)
        copy_weights(language, other)
        after, theirs = (answer_logits(m, soft, words.prompt) for m in (other, language))
    copied = {name.replace(".base_layer.", "."): w for name, w in other.state_dict().items()}
    for name, weight in language.state_dict().items():
        assert torch.equal(copied[name], weight), name
    assert torch.allclose(after, theirs, atol=1e-5)
    assert not torch.allclose(before, after)


def test_a_tokenizer_is_loaded_as_it_is_and_in_silence(language_folder, capfd):
    found, _ = load_tokenizer(language_folder, PROMPT)
    theirs = AutoTokenizer.from_pretrained(language_folder, local_files_only=True)
    assert found.get_vocab() == theirs.get_vocab()
    assert found("This is a man").input_ids == theirs("This is a man").input_ids
    assert capfd.readouterr() == ("", "")


def test_generation_says_nothing_of_itself(language, words, soft, capfd):
    interpret(language, soft, words, judged(words), max_tokens=2)
    assert capfd.readouterr() == ("", "")
