"""Metrics in which everything has happened once, so that every series with every label is there."""

from node.observe.metrics import Metrics
from node.publisher.p2p.embedded import PeerStats
from tests.fakes.status_source import FakeStatusSource


def exposed_metrics() -> Metrics:
    metrics = Metrics("0.1.0")
    source = FakeStatusSource()
    source.add_job("one")
    (gpu,) = source.status()["gpus"]
    hot = {"shut": [{"cause": "hot", "reason": "it is hot"}], "throttle_reasons": ["power limit"]}
    peer = {"enabled": True, "problem": None, "restarts": 0} | dict.fromkeys(
        PeerStats.__dataclass_fields__, 0
    )
    status = source.status()
    source.set_status(
        gpus=[gpu | hot],
        ipfs=peer,
        wallet=status["wallet"] | {"gas_deals": 41, "token_deals": 30},
        worker=status["worker"] | {"waiting_jobs": 2},
        operation={
            "journal_waits": False,
            "rpc_disagreement": False,
            "open_transactions": 1,
            "oldest_transaction_s": 2.5,
            "deadline": source.now + 3600,
            "slack_s": 3000.5,
            "oldest_publishing_s": 7.0,
        },
        offer={"state": "published", "reason": None, "cid": "bafyoffer"},
        draining=False,
        storage={"kept_bytes": 5 * 10**9, "damaged": {"j1": "a block is missing"}},
        targets=[
            {"name": "bitswap", "kind": "bitswap", "waiting": 1, "tried": True, "problem": "slow"},
            {"name": "kubo", "kind": "kubo", "waiting": 2, "tried": False, "problem": None},
        ],
    )
    metrics.mirror(source.status())
    metrics.offer_seen()
    metrics.offer_refused("price_too_low")
    metrics.job_finished("PAID")
    metrics.transaction("mined")
    metrics.rpc_error("timeout")
    metrics.foreign_transaction("another_node")
    metrics.rendered("video", 1)
    metrics.stepped("video", 1)
    metrics.copy_made("stored")
    metrics.worker_died("hang")
    metrics.worker_restarted()
    metrics.case_ended("reject")
    metrics.taken(10, 11)
    metrics.published(1)
    metrics.worker_loaded(60)
    metrics.journal_written(0.002)
    metrics.gpu_errors("0", 1)
    return metrics
