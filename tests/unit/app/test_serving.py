"""A node offers what its models can compute, and doctor says what they cannot."""

import dataclasses

import pytest

from node.admission.rules import verdict
from node.app import checkup
from node.app.serving import Serving, unserved_modules
from node.errors import Misconfigured
from node.pipeline.profiles import load_profile
from tests.fakes.jobs import make_config
from tests.unit.admission.test_rules import GOOD, LIMITS

NEW, OLD = "sdv-pipeline:v1.1-lilypad2", "sdv-pipeline:v1.0-lilypad2"


def config(tmp_path, profile="tiny", modules=(NEW, OLD)):
    return make_config(
        node={"data_dir": str(tmp_path)}, worker={"profile": profile}, market={"modules": list(modules)}
    )


def test_an_incomplete_profile_is_a_reason_to_offer_nothing(tmp_path):
    assert "models pull sdv-1.1" in Serving("sdv-1.1", tmp_path).problem()
    assert Serving("tiny", tmp_path).problem() is None
    assert Serving("fake:20", tmp_path).problem() is None


def test_a_module_is_computed_with_its_own_models_only(tmp_path):
    newer = Serving("sdv-1.1", tmp_path)
    assert newer.unserved(NEW) is None
    reason = newer.unserved(OLD)
    assert reason == (
        f"{OLD} is computed with the models of sdv-1.0, and this node's profile sdv-1.1 serves sdv-1.1"
    )
    assert Serving("tiny", tmp_path).unserved(OLD) is None
    assert Serving("fake", tmp_path).unserved(OLD) is None


def test_an_offer_for_other_models_is_declined_for_good():
    refusal = verdict(dataclasses.replace(GOOD, unserved="other models"), LIMITS)
    assert (refusal.rule, refusal.final, refusal.reason) == ("served", True, "other models")


def test_modules_that_do_not_exist_are_named():
    with pytest.raises(Misconfigured, match=r"market\.modules"):
        unserved_modules(load_profile("tiny"), ("sdv-pipeline:v9",))


def test_doctor_says_what_to_pull(tmp_path):
    check = checkup.check_profile("sdv-1.1", "resident", tmp_path)
    assert (check.verdict, check.remedy) == ("problem", "sdv-node models pull sdv-1.1")
    assert checkup.check_profile("tiny", "resident", tmp_path).verdict == "ok"


@pytest.mark.parametrize(
    ("profile", "modules", "found", "words"),
    [
        ("tiny", (NEW, OLD), "ok", "2 served"),
        ("sdv-1.1", (NEW, OLD), "warning", f"does not serve {OLD}"),
        ("sdv-1.1", (OLD,), "problem", "none of market.modules"),
        ("tiny", ("sdv-pipeline:v9",), "problem", "market.modules"),
        ("huge", (NEW,), "skipped", "no profile"),
    ],
)
def test_doctor_warns_of_modules_the_profile_does_not_serve(tmp_path, profile, modules, found, words):
    check = checkup.check_modules(config(tmp_path, profile, modules))
    assert check.verdict == found
    assert words in check.finding
