"""What a fleet's hosts have, asked in a process of its own and printed as JSON: ``doctor`` imports no Ray.

Run as ``python -m node.worker.ray_probe ORDER``, where the order is that of ``Fleet.to_json``. Exits with 1
and one line on standard error if there is no fleet.
"""

import json
import sys

import ray

from node.errors import NodeError
from node.worker.ray_renderer import connect
from node.worker.settings import Fleet


def hosts() -> list[dict[str, float]]:
    """Return the resources of each host that is alive, of the fleet this process is connected to."""
    return [dict(host["Resources"]) for host in ray.nodes() if host["Alive"]]


def main() -> int:
    """Connect, print and leave."""
    try:
        fleet, _ = Fleet.from_json(json.loads(sys.argv[1]))
        connect(fleet)
    except NodeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(json.dumps(hosts()) + "\n")
    ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
