"""Prompts to token ids with the CLIP byte-pair rules, by a vocabulary small enough to merge by hand."""

import json

import pytest

from node.pipeline.models import ClipVocabulary
from node.pipeline.tokens import chunks
from node.pipeline.toy_configs import vocabulary_files

LETTERS_AND_MARKS = "abcdefghijklmnopqrstuvwxyz0123456789,.!'"
# In this order: a merge that stands earlier is done earlier.
MERGES = ("t h", "i n", "s t", "th e</w>", "in g</w>", "st r", "a t</w>")
MERGED = tuple(merge.replace(" ", "") for merge in MERGES)
TOKENS = (
    *LETTERS_AND_MARKS,
    *(letter + "</w>" for letter in LETTERS_AND_MARKS),
    "Ã",
    "©</w>",
    *MERGED,
    "<|startoftext|>",
    "<|endoftext|>",
)
BEGIN, END = len(TOKENS) - 2, len(TOKENS) - 1


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    directory = tmp_path_factory.mktemp("vocabulary")
    ids = {token: index for index, token in enumerate(TOKENS)}
    (directory / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    (directory / "merges.txt").write_text("#version: 0.2\n" + "\n".join(MERGES) + "\n", encoding="utf-8")
    return ClipVocabulary(directory)


def tokens(vocabulary, word):
    return [TOKENS[index] for index in vocabulary.encode(word)]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("the", ["the</w>"]),
        # in, st and ing</w> come before str.
        ("string", ["str", "ing</w>"]),
        ("cat", ["c", "at</w>"]),
        # The end of a word is part of its last letter, so no at</w> inside.
        ("ate", ["a", "t", "e</w>"]),
        ("THE", ["the</w>"]),
        # Each digit and each run of marks is a word of its own for the merges.
        ("t20", ["t</w>", "2</w>", "0</w>"]),
        ("the,.", ["the</w>", ",", ".</w>"]),
        ("cat's", ["c", "at</w>", "'", "s</w>"]),
        # Text outside ASCII is its UTF-8 bytes.
        ("é", ["Ã", "©</w>"]),
        ("É", ["Ã", "©</w>"]),
        ("<|endoftext|>", ["<|endoftext|>"]),
    ],
)
def test_a_word_is_lower_cased_and_merged_without_begin_and_end(vocabulary, word, expected):
    assert tokens(vocabulary, word) == expected


def test_begin_and_end_are_the_two_largest_ids(vocabulary):
    assert (vocabulary.begin, vocabulary.end) == (BEGIN, END)


def test_a_word_far_longer_than_a_chunk_is_tokenised_whole(vocabulary):
    assert tokens(vocabulary, "b" * 300) == ["b"] * 299 + ["b</w>"]


def test_the_two_encoders_differ_in_padding_alone(vocabulary):
    (chunk,) = chunks("the cat", vocabulary)
    ids = [BEGIN, *(TOKENS.index(token) for token in ("the</w>", "c", "at</w>")), END]
    assert chunk.padded_ids(vocabulary, padding=END) == ids + [END] * 72
    assert chunk.padded_ids(vocabulary, padding=0) == ids + [0] * 72


def test_a_segment_that_ends_inside_a_word_ends_the_word_for_the_merges(vocabulary):
    (chunk,) = chunks("th(e:0.5)", vocabulary)
    assert [TOKENS[index] for index in chunk.ids] == ["t", "h</w>", "e</w>"]
    assert chunk.weights == (1.0, 1.0, 0.5)


def test_an_embedding_that_nobody_has_is_dropped_and_its_commas_stay(vocabulary):
    (chunk,) = chunks("the embedding:cat,, (embedding:the:2) cat", vocabulary)
    assert [TOKENS[index] for index in chunk.ids] == ["the</w>", ",", ",</w>", "c", "at</w>"]


def test_a_group_of_weights_shares_them_over_its_tokens_and_into_the_next_chunk(vocabulary):
    first, second = chunks("b " * 73 + "(" + "c" * 8 + ":2)", vocabulary)
    assert first.weights == (1.0,) * 73 + (2.0,) * 2
    assert second.weights == (2.0,) * 6
    assert second.padded_weights() == [1.0, *[2.0] * 6, *[1.0] * 70]


def test_the_toy_vocabulary_speaks_the_same_language(tmp_path):
    for path, text in vocabulary_files().items():
        (tmp_path / path.rpartition("/")[2]).write_text(text, encoding="utf-8")
    toy = ClipVocabulary(tmp_path)
    assert toy.encode("the") == toy.encode("THE")
    assert len(toy.encode("the")) == 1
    assert toy.end == max(toy.encode("the")[0], toy.begin, toy.end)
