"""The weight syntax of prompts and the packing of words into chunks."""

import pytest

from node.pipeline.prompt import weighted_segments, words
from node.pipeline.tokens import chunks, pack


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("()", []),
        ("a cow", [("a cow", 1.0)]),
        ("a (red) cow", [("a ", 1.0), ("red", 1.1), (" cow", 1.0)]),
        ("((x))", [("x", 1.1 * 1.1)]),
        ("(x:1.3)", [("x", 1.3)]),
        # An explicit number replaces the surrounding weight, it does not multiply it.
        ("((x:1.3))", [("x", 1.3)]),
        ("(a (b:2) c)", [("a ", 1.1), ("b", 2.0), (" c", 1.1)]),
        ("(a (b) c:0.5)", [("a ", 0.5), ("b", 0.5 * 1.1), (" c", 0.5)]),
        # Whatever a float parser takes is a weight.
        ("(x:1e-1)", [("x", 0.1)]),
        ("(x: 1.25 )", [("x", 1.25)]),
        ("(x:0)", [("x", 0.0)]),
        ("(x:-1.5)", [("x", -1.5)]),
        # The last colon counts, and only when it is not the first character.
        ("(a:b:2)", [("a:b", 2.0)]),
        ("(:2)", [(":2", 1.1)]),
        ("(a:b)", [("a:b", 1.1)]),
        # Escapes are text, never syntax.
        (r"\(x\)", [("(x)", 1.0)]),
        (r"(a\)b:2)", [("a)b", 2.0)]),
        # Unclosed groups stay as they are, but a piece that happens to be wrapped is opened.
        ("(a", [("(a", 1.0)]),
        ("b (a", [("b ", 1.0), ("(a", 1.0)]),
        ("((a)", [("(a", 1.1)]),
        # A surplus closing parenthesis disables what follows until the depth is back at zero.
        ("a) (b)", [("a) (b)", 1.0)]),
        ("a) ( (b)", [("a) ( ", 1.0), ("b", 1.1)]),
        ("[a] {b|c} <lora:d>", [("[a] {b|c} <lora:d>", 1.0)]),
    ],
)
def test_weights(text, expected):
    assert weighted_segments(text) == expected


def test_a_prompt_may_nest_deeper_than_the_interpreter():
    depth = 3000
    assert weighted_segments("(" * depth + "x:3" + ")" * depth) == [("x", 3.0)]


def test_words_are_split_at_single_spaces_and_line_ends():
    assert words("a\nbig   cow ") == ["a", "big", "cow"]


def test_a_textual_inversion_leaves_only_its_trailing_commas():
    assert words("x embedding:foo embedding:bar,, y") == ["x", ",,", "y"]


class Letters:
    """A vocabulary with one token per letter."""

    begin = 1000
    end = 1001

    def encode(self, word):
        return [ord(letter) for letter in word]


def ids_of(text):
    return ["".join(map(chr, chunk.ids)) for chunk in chunks(text, Letters())]


def test_an_empty_prompt_is_one_chunk_of_begin_end_and_padding():
    (chunk,) = chunks("", Letters())
    assert chunk.padded_ids(Letters(), padding=7) == [1000, 1001] + [7] * 75
    assert chunk.padded_weights() == [1.0] * 77


def test_a_full_chunk_has_75_tokens_and_no_padding():
    (chunk,) = pack([([5], 1.0)] * 75)
    assert chunk.padded_ids(Letters(), padding=0) == [1000, *[5] * 75, 1001]


def test_a_short_word_that_does_not_fit_starts_the_next_chunk_whole():
    assert ids_of("a" * 70 + " " + "b" * 7) == ["a" * 70, "b" * 7]


def test_a_word_of_8_tokens_is_cut_where_the_chunk_is_full():
    assert ids_of("a" * 70 + " " + "b" * 8) == ["a" * 70 + "b" * 5, "b" * 3]


def test_a_word_longer_than_a_chunk_fills_as_many_as_it_needs():
    assert [len(chunk) for chunk in ids_of("x " + "y" * 200)] == [75, 75, 51]


def test_weights_follow_their_tokens_and_begin_and_end_have_weight_1():
    (chunk,) = chunks("a (bc:0.5)", Letters())
    assert chunk.ids == (ord("a"), ord("b"), ord("c"))
    assert chunk.padded_weights()[:5] == [1.0, 1.0, 0.5, 0.5, 1.0]
    assert len(chunk.padded_weights()) == 77
