"""Whether a profile can be rendered with: it is known, and its weights are complete."""

from pathlib import Path

from node.app.checks import Check, problem
from node.errors import NodeError
from node.pipeline.profiles import load_profile
from node.pipeline.weights.records import completeness


def check_profile(name: str, residency: str, data_dir: Path) -> Check:
    """Is there such a profile, with its weights complete?"""
    try:
        profile = load_profile(name).placed(residency)
    except NodeError as error:
        return problem("profile", str(error))
    lacking = completeness(profile, data_dir)
    if lacking:
        return problem("profile", "; ".join(lacking), f"sdv-node models pull {profile.name}")
    return Check("profile", "ok", f"{profile.name} on {profile.device}")
