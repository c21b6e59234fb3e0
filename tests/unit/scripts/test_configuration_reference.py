"""docs/configuration.md is made from the code, and says something of every setting."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location(
        "configuration_reference", ROOT / "scripts" / "reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_key(place, kinds, path=()):
    for key, info in place.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, kinds.Section):
            yield from every_key(info.annotation, kinds, (*path, key))
        else:
            yield ".".join((*path, key))


def test_the_page_is_what_the_code_says(reference):
    assert (ROOT / "docs" / "configuration.md").read_text() == reference.page()


def test_every_setting_is_explained_once(reference):
    groups = [group for group in reference.groups(reference.DEFAULTS.read_text()) if group.section]
    explained = [f"{group.section}.{key}" for group in groups for key in group.defaults if group.comment]
    # The tables of single modules have no defaults: the comment of the section shows one.
    assert sorted([*explained, "pricing.modules"]) == sorted(every_key(reference.Config, reference.kinds))


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ('matching` = `"both"', "`both`, `propose`, `hire` *(live)*"),
        ("deadline_share` = `0.7", "a number above 0 to 1 *(live)*"),
        ('floor` = `"1"', "0 to 1000000000 tokens *(live)*"),
        ("deny` = `[]", "a list of at most 10,000: an address *(live)*"),
        ('max_per_deal` = `"25"', "0 to 1000000000 tokens"),
    ],
)
def test_a_setting_is_listed_with_its_default_and_what_it_may_be(reference, setting, said):
    assert re.search(rf"^- `{re.escape(setting)}`: {re.escape(said)}$", reference.page(), re.MULTILINE)
