"""What strangers are told: what a matcher, a requester or a dashboard of providers needs, and no more.

Built by naming what goes out, so that a new part of the status stays with the operator until it is named
here.
"""

from collections.abc import Mapping
from typing import Any, Final

from node.job.phase import OPEN_DEAL, Phase

_STATUS: Final = (
    *("version", "started_at", "accepting", "draining", "modules", "price_wei"),
    *("gateway_url", "public_gateway", "limits"),
)
_CHAIN: Final = ("network", "chain_id", "controller", "job_manager", "token", "symbol")
_WORKER: Final = ("profile", "determinism_class")
_OFFER: Final = ("state", "cid")
_IPFS: Final = ("enabled", "peer_id", "addresses")
_JOB: Final = (
    *("job_id", "deal_id", "phase", "terminal", "module", "cid", "determinism_class", "deadline"),
    *("seen_at", "updated_at", "progress", "estimate"),
)
_ENDED: Final = (Phase.PAID, Phase.REJECTED, Phase.UNPAID, Phase.FAILED)


def public_status(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return the public part of a node's state.

    Job counts are those of agreed deals, which stand on chain; what a node refused is not among them.
    """
    wallet = status.get("wallet") or {}
    counts = (status.get("jobs") or {}).get("by_phase") or {}
    return {
        "view": "public",
        **_part(status, _STATUS),
        "provider": wallet.get("address"),
        "chain": _part(status.get("chain") or {}, _CHAIN),
        "worker": _part(status.get("worker") or {}, _WORKER),
        "offer": _part(status.get("offer") or {}, _OFFER),
        "ipfs": _part(status.get("ipfs") or {}, _IPFS),
        "jobs": {
            "open": sum(counts.get(phase, 0) for phase in OPEN_DEAL),
            **{phase.lower(): counts.get(phase, 0) for phase in _ENDED},
        },
    }


def public_job(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a requester may ask of a job: how far it is, and why it was declined.

    A job's number, deal, module and result are on chain; its prompt, files, money and history are left out.
    """
    reason = job.get("reason") if job.get("phase") == Phase.REFUSED else None
    return {"view": "public", **_part(job, _JOB), "reason": reason}


def _part(whole: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: whole[name] for name in names if name in whole}
