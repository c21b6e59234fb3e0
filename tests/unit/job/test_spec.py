"""Reading a job: defaults, bounds, aliases, and every problem at once."""

import pytest

from node.job.spec import SAMPLERS, SCHEDULERS, InvalidInputs, JobSpec, parse_inputs
from node.job.tunables import SAME_AS

MODULE = "sdv-pipeline:v1.1-lilypad2"


def problems_of(*inputs: str, module: str = MODULE) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInputs) as caught:
        parse_inputs(module, inputs)
    return [(problem.key, problem.wrong) for problem in caught.value.problems]


def test_no_inputs_mean_the_documented_defaults():
    spec = parse_inputs(MODULE, [])
    assert spec.tunables() == {
        "Prompt": "question mark floating in space",
        "Framerate": 8,
        "Seed": 42,
        "Steps": 50,
        "Scheduler": "normal",
        "Sampler": "euler_ancestral",
        "Batching": 1,
        "VideoSeed": 42,
        "VideoSteps": 50,
        "VideoScheduler": "normal",
        "VideoSampler": "euler_ancestral",
        "Frames": "none",
    }
    assert spec.notes == ()


def test_the_command_line_people_have_is_understood_with_a_note():
    spec = parse_inputs(
        "sdv-pipeline:v1.0-lilypad2",
        [
            "ImageSeed=696721260153400",
            "Prompt=an astronaut floating against a white background",
            "Steps=200",
            "VideoSteps=70",
        ],
    )
    assert (spec.seed, spec.video_seed, spec.steps, spec.video_steps) == (696721260153400, 42, 200, 70)
    assert spec.notes == ("ImageSeed is read as Seed",)


@pytest.mark.parametrize("inputs", [["Seed=1", "ImageSeed=2"], ["ImageSeed=2", "Seed=1"]])
def test_seed_wins_over_its_alias_in_any_order(inputs):
    spec = parse_inputs(MODULE, inputs)
    assert spec.seed == 1
    assert spec.notes == ("ImageSeed is left out, as Seed is given",)


def test_an_invalid_alias_is_a_problem_under_the_name_that_was_typed():
    assert problems_of("Seed=1", "ImageSeed=-2") == [("ImageSeed", "is not a whole number in the digits 0-9")]


def test_an_empty_value_means_the_default_with_a_note():
    spec = parse_inputs(MODULE, ["Steps=", "Seed=", "ImageSeed=7"])
    assert (spec.steps, spec.seed) == (50, 7)
    assert spec.notes == (
        "Steps is empty, so the default of Steps is used",
        "Seed is empty, so the default of Seed is used",
        "ImageSeed is read as Seed",
    )


def test_a_value_keeps_every_equals_sign_after_the_first():
    assert parse_inputs(MODULE, ["Prompt=e = mc^2 = E"]).prompt == "e = mc^2 = E"


def test_a_mapping_is_read_like_a_list():
    assert parse_inputs(MODULE, {"Prompt": "a=b", "Steps": "5"}) == parse_inputs(
        MODULE, ["Prompt=a=b", "Steps=5"]
    )


@pytest.mark.parametrize(
    ("key", "field", "accepted", "refused"),
    [
        ("Framerate", "framerate", [1, 20], [0, 21]),
        ("Steps", "steps", [5, 200], [4, 201]),
        ("VideoSteps", "video_steps", [5, 70], [4, 71]),
        ("Seed", "seed", [0, 2**64 - 1], [2**64]),
        ("ImageSeed", "seed", [0, 2**64 - 1], [2**64]),
        ("VideoSeed", "video_seed", [0, 2**64 - 1], [2**64]),
        ("Batching", "batching", [1, 2, 4, 8], [0, 3, 5, 6, 7, 9, 16]),
    ],
)
def test_bounds_are_inclusive_and_nothing_beyond_them_is_taken(key, field, accepted, refused):
    for number in accepted:
        assert getattr(parse_inputs(MODULE, [f"{key}={number}"]), field) == number
    for number in refused:
        assert [problem_key for problem_key, _ in problems_of(f"{key}={number}")] == [key]


@pytest.mark.parametrize(
    "text",
    [
        "٣",
        "\uff15",
        "+5",
        "-5",
        "-0",
        "1e3",
        "5.0",
        "NaN",
        "inf",
        " 7",
        "7 ",
        "0x10",
        "1_0",
        "²",
        "五",
        "050",
        "00",
    ],
)
def test_only_plain_decimal_digits_are_a_number(text):
    assert [key for key, _ in problems_of(f"Seed={text}")] == ["Seed"]


def test_a_number_of_a_thousand_digits_is_refused_without_being_computed():
    assert problems_of("Seed=" + "9" * 1500) == [("Seed", "is too large")]


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("Sampler", SAMPLERS),
        ("VideoSampler", SAMPLERS),
        ("Scheduler", SCHEDULERS),
        ("VideoScheduler", SCHEDULERS),
        ("Frames", ("none", "png")),
    ],
)
def test_every_documented_name_is_taken_and_no_other(key, names):
    for name in names:
        assert parse_inputs(MODULE, [f"{key}={name}"]).tunables()[key] == name
    assert problems_of(f"{key}={names[0]}x") == [(key, f"is not a known name, did you mean {names[0]}?")]
    assert problems_of(f"{key}={names[0].upper()}") == [
        (key, f"is not a known name, did you mean {names[0]}?")
    ]
    assert problems_of(f"{key}=zzzzzzzz") == [(key, "is not a known name")]


def test_a_gpu_sampler_keeps_its_name_and_a_note_says_what_is_computed():
    spec = parse_inputs(MODULE, ["Sampler=dpmpp_sde_gpu", "VideoSampler=dpmpp_3m_sde_gpu"])
    assert (spec.sampler, spec.video_sampler) == ("dpmpp_sde_gpu", "dpmpp_3m_sde_gpu")
    assert spec.notes == (
        "Sampler dpmpp_sde_gpu is computed as dpmpp_sde, as noise is drawn on the CPU",
        "VideoSampler dpmpp_3m_sde_gpu is computed as dpmpp_3m_sde, as noise is drawn on the CPU",
    )
    assert parse_inputs(MODULE, ["Sampler=dpmpp_sde"]).notes == ()
    assert set(SAME_AS) == {name for name in SAMPLERS if name.endswith("_gpu")}
    assert all(plain in SAMPLERS for plain in SAME_AS.values())


def test_the_documented_lists_are_complete():
    assert len(SCHEDULERS) == len(set(SCHEDULERS)) == 6
    assert len(SAMPLERS) == len(set(SAMPLERS)) == 19


def test_every_problem_is_reported_at_once_in_the_order_of_reading():
    with pytest.raises(InvalidInputs) as caught:
        parse_inputs(
            "sdv-pipeline:v9", ["Steps=500", "Foo=1", "steps=5", "Framerate", "Steps=6", "Sampler=lcmm"]
        )
    assert [problem.key for problem in caught.value.problems] == [
        "module",
        "Foo",
        "steps",
        "Framerate",
        "Steps",
        "Steps",
        "Sampler",
    ]
    assert caught.value.exit_code == 2
    for problem in caught.value.problems:
        assert problem.key in str(caught.value)
        assert problem.allowed in str(caught.value)


def test_a_key_that_is_nearly_right_gets_a_suggestion():
    assert problems_of("videosteps=5") == [
        ("videosteps", "is not an input of this module, did you mean VideoSteps?")
    ]
    assert problems_of("PROMPT=x") == [("PROMPT", "is not an input of this module, did you mean Prompt?")]
    assert problems_of("Qqqqqq=x") == [("Qqqqqq", "is not an input of this module")]


def test_a_duplicate_key_is_refused_even_when_both_agree():
    assert problems_of("Steps=50", "Steps=50") == [("Steps", "is given more than once")]
    assert problems_of("Steps=", "Steps=50") == [("Steps", "is given more than once")]


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\0", "\x1b", "\x7f", "\x85", "\x9b", "\ud800"])
def test_control_characters_and_lone_surrogates_are_refused_and_never_echoed(character):
    with pytest.raises(InvalidInputs) as caught:
        parse_inputs(MODULE, [f"Prompt=a{character}b"])
    assert [problem.key for problem in caught.value.problems] == ["Prompt"]
    assert character not in str(caught.value)


def test_text_of_every_script_is_a_prompt():
    prompt = "ночь 夜 🌌 \u2028 é “quoted” {json} \\ 'x'\u00a0"
    assert parse_inputs(MODULE, [f"Prompt={prompt}"]).prompt == prompt


def test_an_input_may_have_2048_bytes_with_its_key_and_no_more():
    longest = "é" * ((2048 - len("Prompt=") - 1) // 2) + "x"
    assert parse_inputs(MODULE, [f"Prompt={longest}"]).prompt == longest
    assert problems_of(f"Prompt={longest}x") == [("Prompt", "is too long")]


def test_all_inputs_together_have_a_bound():
    keys = [f"K{number}={'x' * 1700}" for number in range(5)]
    assert ("inputs", "together too long") in problems_of(*keys)


def test_reading_stops_after_64_inputs():
    def endless():
        yield "Steps=5"
        while True:
            yield "Foo=1"

    with pytest.raises(InvalidInputs) as caught:
        parse_inputs(MODULE, endless())
    assert caught.value.problems[64 - 1].key == "inputs"
    assert len(caught.value.problems) == 64


def test_a_spec_is_stored_and_read_back_with_its_notes():
    spec = parse_inputs("sdv-pipeline", ["ImageSeed=18446744073709551615", "Prompt=x"])
    assert len(spec.notes) == 2
    assert JobSpec.from_json(spec.to_json()) == spec


def test_a_spec_stored_before_frames_could_be_asked_for_asks_for_none():
    spec = parse_inputs(MODULE, ["Steps=5"])
    document = spec.to_json()
    del document["inputs"]["Frames"]
    assert JobSpec.from_json(document) == spec
    assert JobSpec.from_json(document).frames == "none"


@pytest.mark.parametrize(
    "change",
    [
        {"module": "cowsay:v1"},
        {"module": 5},
        {"notes": "text"},
        {"notes": [5]},
        {"inputs": []},
        {"inputs": {}},
        {"extra": 1},
    ],
)
def test_a_stored_spec_that_was_changed_is_refused(change):
    document = parse_inputs(MODULE, []).to_json() | change
    with pytest.raises(InvalidInputs):
        JobSpec.from_json(document)


@pytest.mark.parametrize(
    "change", [{"Steps": 4}, {"Steps": "50"}, {"Steps": True}, {"Foo": 1}, {"Prompt": ""}]
)
def test_a_stored_tunable_that_was_changed_is_refused(change):
    document = parse_inputs(MODULE, []).to_json()
    document["inputs"] |= change
    with pytest.raises(InvalidInputs):
        JobSpec.from_json(document)


@pytest.mark.parametrize("document", [None, [], "x", 5])
def test_what_is_no_object_is_no_stored_spec(document):
    with pytest.raises(InvalidInputs):
        JobSpec.from_json(document)
