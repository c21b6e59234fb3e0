"""T13 and T14, run here; T1-mediator, T15 and T17, which are selections of the test suite."""

import asyncio
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from scripts.chaos_runs.programme import Case, Run, Selection, Test
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.flood import run_offer_flood

ROOT = Path(__file__).resolve().parents[2]
INPUTS = 100_000
FLOOD_OFFERS, FLOOD_S = 100_000, 60.0
FLOOD_SHARE_OF_A_CHANGE = 10
SENDERS = (1, 10_000)
EVALUATED_WITHIN_S = 5.0
MB = 10**6


async def _hostile_inputs(_place: Arena, seed: int) -> Run:
    """Read a hundred thousand inputs in a process of their own, whose memory is what is measured."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.fuzz", "--inputs", str(INPUTS), "--seed", str(seed), "--json"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    report = json.loads(output)
    broken = [f"T13: {entry}" for entry in report["broken"]]
    if process.returncode and not broken:
        broken = [f"T13: the process grew by {report['growth_bytes']} bytes"]
    highest = {"slowest input, ms": report["slowest_s"] * 1000, "growth, MB": report["growth_bytes"] / MB}
    return Run(broken, weight=sum(report["inputs"].values()), highest=highest)


async def _flood(senders: int, share: int, _place: Arena, seed: int) -> Run:
    """Flood a node with offers, real ones among them; ``share`` divides the full size."""
    with tempfile.TemporaryDirectory() as folder:
        flood = await run_offer_flood(
            Path(folder),
            offers=FLOOD_OFFERS // share,
            senders=max(1, senders // share),
            seconds=FLOOD_S / share,
            seed=seed,
        )
    slowest = max(flood.evaluated_after_s, default=0.0)
    broken = []
    if len(flood.evaluated_after_s) != flood.real:
        broken.append(f"T14: {len(flood.evaluated_after_s)} of {flood.real} real offers were evaluated")
    if slowest > EVALUATED_WITHIN_S:
        broken.append(f"T14: a real offer was evaluated after {slowest:.1f} s")
    if flood.rss_growth > 200 * MB or flood.journal_growth > 100 * MB / share:
        broken.append(f"T14: memory grew by {flood.rss_growth}, the journal by {flood.journal_growth} bytes")
    highest = {
        "slowest evaluation, s": slowest,
        "memory growth, MB": flood.rss_growth / MB,
        "journal growth, MB": flood.journal_growth / MB,
    }
    return Run(broken, counts={"offers": flood.offers, "real offers": flood.real}, highest=highest)


def _floods(share: int) -> tuple[Case, ...]:
    return tuple(Case(f"{senders} senders", partial(_flood, senders, share)) for senders in SENDERS)


TESTS = (
    Test(
        "T13",
        "hostile logs, inputs, documents and answers",
        (Case("", _hostile_inputs),),
        {"ci": 1, "full": 100},
    ),
    Test(
        "T14",
        "a flood of offers, 100,000 in a minute, with 20 real ones (ci: a tenth of that)",
        _floods(FLOOD_SHARE_OF_A_CHANGE),
        {"ci": 1, "full": 5},
        full_cases=_floods(1),
        lanes=1,
    ),
)

SELECTIONS = (
    Selection(
        "T1-mediator",
        "a mediator is killed just before and just after every durable boundary of a case",
        ("tests/chaos/test_disputes.py",),
    ),
    Selection(
        "T15",
        "economic attacks: price, payer, token, allowance, caps, silence",
        (
            "tests/chaos/test_economics.py",
            "tests/chaos/test_hire_economics.py",
            "tests/integration/test_economics.py",
            "tests/chaos/test_claims.py",
        ),
    ),
    Selection(
        "T17",
        "keys: wrong passwords, file modes, signers that are down, slow or lie, policy breaches",
        (
            "tests/unit/chain/test_keystore.py",
            "tests/unit/chain/test_policy.py",
            "tests/unit/chain/test_policy_signer.py",
            "tests/property/test_policy.py",
            "tests/integration/chain/test_remote_signer.py",
            "tests/chaos/test_keys.py",
            "tests/chaos/test_secrets.py",
        ),
    ),
)
