"""T16: strangers and pretenders at the HTTP port."""

from scripts.chaos_runs.programme import Case, Run, Test
from tests.chaos.harness.arena import Arena
from tests.chaos.harness.http_attack import SLOW_SOCKETS, attacked_node, p99_ms


async def _strangers(arena: Arena, seed: int) -> Run:
    found = await attacked_node(arena, seed)
    return Run(
        found.broken,
        weight=found.asked,
        counts={"requests": found.asked, "slow sockets": SLOW_SOCKETS},
        highest={
            "p99 of the API under the attack, ms": p99_ms(found.waited_s),
            "p99 of the API before it, ms": p99_ms(found.calm_s),
        },
    )


TESTS = (
    Test(
        "T16",
        "HTTP: every route, asked without a token, with a wrong or old one, by other hosts, pages, verbs and "
        "paths, with 10 MB, beside 500 slow sockets",
        (Case("", _strangers),),
        {"ci": 1, "full": 5},
        lanes=1,
    ),
)
