import pytest

from scf_pipeline.miniature.tokenizer import NEWLINE, learn_clip_tokenizer, learn_opt_tokenizer

TEXTS = ["a photo of a man with red hair", " Yes. This is a man", "Question: is it? Answer: No."]


@pytest.fixture(scope="module")
def opt():
    return learn_opt_tokenizer(TEXTS)


def test_every_word_that_was_learnt_is_one_token(opt):
    for word in [" man", " red", " hair", " Yes", " No", "Question"]:
        assert len(opt.tokenize(word)) == 1, word


def test_any_text_comes_back_as_it_went_in(opt):
    text = "a xylophone, naïve\n"
    assert opt.decode(opt(text)["input_ids"], skip_special_tokens=True) == text


def test_texts_begin_as_opts_do_and_have_no_end(opt):
    ids = opt("a man")["input_ids"]
    assert ids[0] == opt.bos_token_id == opt.eos_token_id
    assert ids[-1] != opt.eos_token_id


def test_a_line_break_is_one_token(opt):
    assert opt("\n", add_special_tokens=False)["input_ids"] == [opt.convert_tokens_to_ids(NEWLINE)]


def test_padding_is_on_the_left_for_generation(opt):
    rows = opt(["a", "a photo of a man"], padding=True)["input_ids"]
    assert rows[0][0] == opt.pad_token_id
    assert opt.pad_token_id not in {opt.bos_token_id, opt.eos_token_id}


def test_learning_does_not_depend_on_order_or_repetition():
    again = learn_opt_tokenizer([*reversed(TEXTS), TEXTS[0]])
    assert again.get_vocab() == learn_opt_tokenizer(TEXTS).get_vocab()


def test_clip_texts_are_framed_by_two_tokens_and_cut():
    clip = learn_clip_tokenizer(TEXTS, max_length=4)
    ids = clip(TEXTS[0], truncation=True)["input_ids"]
    assert len(ids) == 4
    assert (ids[0], ids[-1]) == (clip.bos_token_id, clip.eos_token_id)
    assert len({clip.bos_token_id, clip.eos_token_id, clip.pad_token_id}) == 3
