"""Two hosts of a Ray cluster on this machine, in a process group of their own, told over standard input.

Prints the cluster's address. ``lose`` kills the second host with all that runs there, ``replace`` starts
another one; the end of the input ends all.
"""

import sys

from ray.cluster_utils import Cluster

# Each host has room for one worker.
HOST = {
    "num_cpus": 1,
    "num_gpus": 0,
    "resources": {"host": 1},
    "object_store_memory": 100 * 2**20,
    "include_dashboard": False,
}


def tell(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main():
    cluster = Cluster(initialize_head=True, head_node_args=HOST)
    second = cluster.add_node(**HOST)
    cluster.wait_for_nodes()
    tell(cluster.address)
    for line in sys.stdin:
        if line.strip() == "lose":
            cluster.remove_node(second, allow_graceful=False)
        else:
            second = cluster.add_node(**HOST)
        tell("done")
    cluster.shutdown()


main()
