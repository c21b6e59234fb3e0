"""One run of T20 in a process of its own: ``python -m tests.repeats --seed 0 --sets 6 --repeats 4``.

Prints one JSON object. ``--cids`` renders the drawn sets once and prints their CIDs: another process must
give the same.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from node.pipeline.determinism import weights_hashes
from node.pipeline.profiles import load_profile
from node.pipeline.renderer import Renderer
from tests.repeats import programme
from tests.repeats.jobs import CHEATED, MODULE, drawn, every_pair
from tests.repeats.small import small_renderer


def main() -> None:
    """Run what the arguments ask for."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="sdv-repeats-") as folder:
        bench = programme.Bench(_renderer(options.data, options.full_tiny), Path(folder))
        sys.stdout.write(f"{json.dumps(_run(bench, options))}\n")


def _renderer(data: Path, full: bool) -> Renderer:
    renderer = Renderer.load(load_profile("tiny"), data)
    return (
        renderer if full else small_renderer(renderer, weights_hashes(load_profile("tiny").directory(data)))
    )


def _run(bench: programme.Bench, options: argparse.Namespace) -> dict[str, object]:
    sets = list(drawn(options.seed, options.sets))
    if options.cids:
        return {"cids": [bench.cid(spec) for spec in sets], "class": bench.renderer.determinism_class}
    known = programme.repeats(bench, sets, options.repeats)
    programme.after_others(bench, known, drawn(options.seed + 10**6, options.others))
    if options.pairs:
        programme.repeats(bench, every_pair(), 2)
    accepted = programme.honest(bench, drawn(options.seed + 2 * 10**6, options.honest))
    reasons = programme.cheating(bench, CHEATED) if options.cheats else {}
    return {
        "runs": bench.runs,
        "broken": bench.broken,
        "cids": list(known.values()),
        "class": bench.renderer.determinism_class,
        "honest": accepted,
        "caught": reasons,
        "module": MODULE,
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.repeats", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="where the toy weights are, or are made")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sets", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--others", type=int, default=0)
    parser.add_argument("--honest", type=int, default=0)
    parser.add_argument("--pairs", action="store_true")
    parser.add_argument("--cheats", action="store_true")
    parser.add_argument("--full-tiny", action="store_true", help="clips of the profile's own size")
    parser.add_argument("--cids", action="store_true", help="render the sets once and print their CIDs")
    return parser.parse_args()


if __name__ == "__main__":
    main()
