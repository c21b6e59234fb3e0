"""Reading arbitrary inputs: one kind of error, every problem named, and a round trip for what is valid."""

import string

from hypothesis import given
from hypothesis import strategies as st

from node.job.modules import MODULES
from node.job.spec import InvalidInputs, JobSpec, parse_inputs
from node.job.tunables import KEYS, MAX_SEED, TUNABLES, ChoiceTunable, IntegerTunable

MODULE = "sdv-pipeline:v1.1-lilypad2"
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=80)
PLAIN_KEY = st.text(string.ascii_letters, min_size=1, max_size=20)
NEARLY_INPUT = st.builds(lambda key, value: f"{key}={value}", st.sampled_from(KEYS) | PLAIN_KEY, ANY_TEXT)
PROMPT = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=400)


def valid_value(tunable):
    if isinstance(tunable, IntegerTunable):
        return st.sampled_from(tunable.choices) if tunable.choices else st.integers(tunable.low, tunable.high)
    if isinstance(tunable, ChoiceTunable):
        return st.sampled_from(tunable.names)
    return PROMPT


VALID = st.fixed_dictionaries({}, optional={tunable.name: valid_value(tunable) for tunable in TUNABLES})


def outcome(module, inputs) -> JobSpec | InvalidInputs:
    try:
        return parse_inputs(module, inputs)
    except InvalidInputs as error:
        return error


@given(st.one_of(ANY_TEXT, st.just(MODULE)), st.lists(ANY_TEXT | NEARLY_INPUT, max_size=70))
def test_reading_raises_nothing_but_invalid_inputs_and_its_text_is_safe_to_print(module, inputs):
    result = outcome(module, inputs)
    if isinstance(result, JobSpec):
        assert JobSpec.from_json(result.to_json()) == result
        return
    assert result.problems
    assert str(result).isprintable()
    assert all(problem.key in str(result) and problem.allowed for problem in result.problems)


@given(st.sets(PLAIN_KEY.filter(lambda key: key not in KEYS), min_size=1, max_size=20))
def test_every_unknown_key_is_named(keys):
    result = outcome(MODULE, [f"{key}=1" for key in keys])
    assert isinstance(result, InvalidInputs)
    assert {problem.key for problem in result.problems} == keys


@given(st.sampled_from(list(MODULES)), VALID, st.randoms(use_true_random=False))
def test_valid_inputs_in_any_order_give_exactly_what_was_asked(tag, wanted, random):
    inputs = [f"{name}={value}" for name, value in wanted.items()]
    random.shuffle(inputs)
    spec = parse_inputs(f"sdv-pipeline:{tag}", inputs)
    assert spec.tunables() == {tunable.name: tunable.default for tunable in TUNABLES} | wanted
    assert parse_inputs(spec.module, spec.to_inputs()) == spec


@given(st.integers())
def test_a_seed_is_taken_exactly_when_it_is_in_range(number):
    result = outcome(MODULE, [f"Seed={number}"])
    assert isinstance(result, JobSpec) == (0 <= number <= MAX_SEED)
    assert isinstance(result, InvalidInputs) or result.seed == number
