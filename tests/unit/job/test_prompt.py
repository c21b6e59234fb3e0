"""The weights in a prompt: a plain reading of the rules as an oracle, hostile nesting, what a job may ask."""

import contextlib
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.job.prompt import impossible_weights, weighted_segments
from node.job.spec import InvalidInputs, parse_inputs

MODULE = "sdv-pipeline:v1.1-lilypad2"


def pieces_by_the_rules(text):
    """Rule 2: cut where the nesting leaves 0 upwards and where it comes back to 0 from above."""
    pieces, running, nesting = [], "", 0
    for letter in text:
        if letter == "(" and nesting == 0:
            pieces.append(running)
            running = ""
        nesting += {"(": 1, ")": -1}.get(letter, 0)
        running += letter
        if letter == ")" and nesting == 0:
            pieces.append(running)
            running = ""
    return [piece for piece in [*pieces, running] if piece]


def segments_by_the_rules(text, weight=1.0):
    """Rule 3 on every piece of a text whose escapes are hidden already."""
    segments = []
    for piece in pieces_by_the_rules(text):
        if len(piece) < 2 or piece[0] != "(" or piece[-1] != ")":
            segments.append((piece, weight))
            continue
        inside, inner = piece[1:-1], weight * 1.1
        before, _, number = inside.rpartition(":")
        if before:
            with contextlib.suppress(ValueError):
                inside, inner = before, float(number)
        segments += segments_by_the_rules(inside, inner)
    return segments


def by_the_rules(text):
    hidden = text.replace(r"\(", "\x01").replace(r"\)", "\x02")
    return [
        (piece.replace("\x01", "(").replace("\x02", ")"), weight)
        for piece, weight in segments_by_the_rules(hidden)
    ]


@pytest.mark.parametrize("length", range(7))
def test_every_short_text_of_syntax_is_read_by_the_rules(length):
    for letters in itertools.product("()a:", repeat=length):
        text = "".join(letters)
        assert weighted_segments(text) == by_the_rules(text), text


@given(
    st.lists(st.sampled_from(["(", "(", ")", ")", ":", "1.5", "1_0", "nan", "b c", " ", "\\"]), max_size=30)
)
def test_longer_texts_with_numbers_and_escapes_are_read_by_the_rules(parts):
    text = "".join(parts)
    # As text, because nan is not equal to itself.
    assert repr(weighted_segments(text)) == repr(by_the_rules(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Two backslashes are one of text and one that escapes; three are two of text and one that escapes.
        ("\\\\(a)", [("\\(a)", 1.0)]),
        ("\\\\\\(a", [("\\\\(a", 1.0)]),
        ("\\a (b\\)", [("\\a ", 1.0), ("(b)", 1.0)]),
        (r"(a\(b\):2)", [("a(b)", 2.0)]),
        # An escaped parenthesis behind the colon is no number.
        (r"(a:2\))", [("a:2)", 1.1)]),
        # A float parser's own spellings, and what it does not take.
        ("(a:1_0)", [("a", 10.0)]),
        ("(a:+.5)", [("a", 0.5)]),
        ("(a:1,5)", [("a:1,5", 1.1)]),
        ("(a:)", [("a:", 1.1)]),
        ("(:)", [(":", 1.1)]),
        ("(a: )", [("a: ", 1.1)]),
        # Groups never closed: the text's last parenthesis closes the outermost of them.
        ("(a (b)", [("a ", 1.1), ("(b", 1.1)]),
        ("(a (b:2)", [("a ", 2.0), ("(b", 2.0)]),
        ("(a (b) c", [("(a (b) c", 1.0)]),
        # `((a)` at 1.1, and in it `(a` at 1.1 times 1.1, which nothing closes.
        ("(((a))", [("(a", 1.1 * 1.1)]),
    ],
)
def test_corner_cases_worked_out_by_hand(text, expected):
    assert weighted_segments(text) == expected


@pytest.mark.parametrize(
    "hostile",
    [
        "(" * 50_000 + "x" + ")" * 50_000,
        "(" * 100_000,
        "(:x" * 50_000 + ")" * 50_000,
        "(" * 60_000 + ")" * 50_000,
    ],
)
def test_hostile_nesting_is_read_in_one_pass(hostile):
    # Reading each level anew would be billions of steps and never end.
    assert "".join(text for text, _ in weighted_segments(hostile)).count("x") == hostile.count("x")


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a (x:nan)", "'x' the weight nan"),
        ("a (x:inf)", "'x' the weight inf"),
        ("a (x:-Infinity)", "'x' the weight -inf"),
        ("a (x:1e400)", "'x' the weight inf"),
        # Finite for a double and infinite for the float32 that it is multiplied with.
        ("a (x:1e39)", "'x' the weight 1e+39"),
        ("(" * 1000 + "x" + ")" * 1000, "'x' the weight 2.46993291"),
        ("((x) y:3.3e38)", "'x' the weight 3.63"),
    ],
)
def test_a_weight_that_is_not_finite_is_refused_with_its_key_and_what_is_allowed(prompt, told):
    with pytest.raises(InvalidInputs) as caught:
        parse_inputs(MODULE, [f"Prompt={prompt}", "Steps=4"])
    problem, other = caught.value.problems
    assert problem.key == "Prompt"
    assert told in problem.wrong
    assert "finite numbers" in problem.allowed
    assert other.key == "Steps"


def test_many_impossible_weights_are_one_problem_of_bounded_length():
    with pytest.raises(InvalidInputs) as caught:
        parse_inputs(MODULE, ["Prompt=" + "(x:nan)" * 250])
    (problem,) = caught.value.problems
    assert "247 more" in problem.wrong
    assert len(str(problem)) < 500


@pytest.mark.parametrize(
    "prompt",
    ["(x:3.4e38)", "(x:-1e30)", "(x:0)", "nan inf 1e400", "[x:nan]", "(nan:1)", r"\(x:nan\)", "(:nan)", "("],
)
def test_what_only_looks_like_an_impossible_weight_is_taken(prompt):
    assert parse_inputs(MODULE, [f"Prompt={prompt}"]).prompt == prompt


def test_the_parser_itself_still_reads_whatever_a_float_parser_takes():
    ((text, weight),) = weighted_segments("(x:nan)")
    assert text == "x"
    assert math.isnan(weight)
    assert weighted_segments("(x:1e400)") == [("x", math.inf)]
    assert impossible_weights("(a:inf) (b:2)") == [("a", math.inf)]
