"""Which module a text names."""

import pytest

from node.job.modules import MODULES, resolve_module
from node.job.problems import InvalidInputs


@pytest.mark.parametrize(
    ("tag", "profile", "commit"),
    [
        ("v1.0-lilypad1", "sdv-1.0", "779ac48cf958ea8e56c64c33ab3c899676da2646"),
        ("v1.0-lilypad2", "sdv-1.0", "048589661cfe5c27840dfd1da9c3bef11a9d4071"),
        ("v1.1-lilypad1", "sdv-1.1", "5d90f95fbaadd4c04b034362988f3ba3057f2380"),
        ("v1.1-lilypad2", "sdv-1.1", "25c99c5014c72a99c592134a74740caef14c9b75"),
        ("sdv-xl-1.1-lilypad1", "sdv-1.1", "5d90f95fbaadd4c04b034362988f3ba3057f2380"),
        ("sdv-xl-1.0-lilypad1", "sdv-1.0", "575267caaf9e0db2ede03bba7bf6da9aa9b1034c"),
    ],
)
def test_a_known_tag_stands_for_its_pinned_commit_in_every_spelling(tag, profile, commit):
    for text in (
        f"sdv-pipeline:{tag}",
        f"github.com/lilypad-tech/lilypad-module-sdv-pipeline:{tag}",
        f"GitHub.com/Lilypad-Tech/Lilypad-Module-SDV-Pipeline:{tag}",
        f"https://github.com/Lilypad-Tech/lilypad-module-sdv-pipeline:{tag}",
    ):
        module = resolve_module(text)
        assert (module.tag, module.profile, module.commit) == (tag, profile, commit)
        assert module.canonical == f"sdv-pipeline:{tag}"
        assert module.notes == ()


@pytest.mark.parametrize("text", ["sdv-pipeline", "github.com/Lilypad-Tech/lilypad-module-sdv-pipeline"])
def test_no_version_means_the_newest_and_says_so(text):
    module = resolve_module(text)
    assert module.canonical == "sdv-pipeline:v1.1-lilypad2"
    assert "v1.1-lilypad2" in module.notes[0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sdv-pipeline:",
        "sdv-pipeline:v1.1-lilypad3",
        "sdv-pipeline:V1.1-lilypad2",
        "sdv-pipeline:v1.1-lilypad2:x",
        "sdv-pipeline:v1.1-lilypad2 ",
        "cowsay:v0.0.1",
        "github.com/someone-else/lilypad-module-sdv-pipeline:v1.1-lilypad2",
        "http://github.com/lilypad-tech/lilypad-module-sdv-pipeline:v1.1-lilypad2",
        "gitlab.com/lilypad-tech/lilypad-module-sdv-pipeline:v1.1-lilypad2",
        "github.com/lilypad-tech/lilypad-module-sdv-p\u0130peline:v1.1-lilypad2",
        "x" * 5000,
        "sdv-pipeline:\x1b[2J",
        "\ud800",
    ],
)
def test_anything_else_is_refused_naming_every_allowed_module(text):
    with pytest.raises(InvalidInputs) as caught:
        resolve_module(text)
    (problem,) = caught.value.problems
    assert problem.key == "module"
    assert all(f"sdv-pipeline:{tag}" in problem.allowed for tag in MODULES)
    assert str(caught.value).isprintable()


def test_a_near_miss_gets_a_suggestion():
    with pytest.raises(InvalidInputs, match=r"did you mean sdv-pipeline:v1\.0-lilypad2\?"):
        resolve_module("sdv-pipelines:v1.0-lilypad2")
    with pytest.raises(InvalidInputs, match=r"not a module this node knows; allowed"):
        resolve_module("cowsay:v0.0.1")
