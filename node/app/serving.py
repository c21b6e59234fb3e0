"""What a node's models let it offer: nothing while they are incomplete, and only modules they serve."""

from collections.abc import Iterable
from pathlib import Path

from node.errors import Misconfigured
from node.job.modules import resolve_module
from node.job.problems import InvalidInputs
from node.pipeline.profiles import Profile, load_profile
from node.pipeline.weights.records import completeness
from node.worker.fake import is_fake


class Serving:
    """The models of the configured profile. Asking is cheap: names, sizes and times, never contents.

    ``data_dir`` is None where the weights are on the side of workers that somebody else starts: one with
    incomplete weights never gets ready.
    """

    def __init__(self, profile: str, data_dir: Path | None) -> None:
        # The fake profile has no models and computes every module, for tests.
        self._profile: Profile | None = None if is_fake(profile) else load_profile(profile)
        self._data_dir = data_dir

    def problem(self) -> str | None:
        """Return why the profile's models cannot be used, or None."""
        if self._profile is None or self._data_dir is None:
            return None
        problems = completeness(self._profile, self._data_dir)
        return "; ".join(problems) or None

    def unserved(self, module: str) -> str | None:
        """Return why a module is not computed with this profile, or None if it is."""
        if self._profile is None:
            return None
        wanted = resolve_module(module).profile
        if wanted in self._profile.serves:
            return None
        return (
            f"{module} is computed with the models of {wanted}, and this node's profile "
            f"{self._profile.name} serves {', '.join(self._profile.serves) or 'none'}"
        )


def unserved_modules(profile: Profile, modules: Iterable[str]) -> tuple[str, ...]:
    """Return those of the operator's modules that a profile does not serve.

    Raises Misconfigured for a module that does not exist.
    """
    try:
        wanted = {module: resolve_module(module).profile for module in modules}
    except InvalidInputs as error:
        raise Misconfigured(f"market.modules: {error}") from error
    return tuple(module for module, needed in wanted.items() if needed not in profile.serves)
