"""The money commands tell the chain's own numbers, with the node running and without it."""

import asyncio
import contextlib
import csv
import io
import json
import sqlite3

import aiohttp
import pytest

from node.cli.main import cli
from tests.chaos.economy import TOKEN, Account, reached, running
from tests.chaos.harness.arena import Arena

pytestmark = [pytest.mark.chaos, pytest.mark.integration, pytest.mark.asyncio(loop_scope="session")]


async def command(provider, *words: str, code: int = 0) -> str:
    """Return what ``sdv-node`` prints for this node's settings, run in this process on another thread."""

    def run() -> tuple[object, str]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            ended = cli.main(("--config", str(provider.config), *words), standalone_mode=False)
        return ended, out.getvalue()

    ended, out = await asyncio.to_thread(run)
    assert (ended or 0) == code, out
    return out


async def told(provider, *words: str, code: int = 0):
    return json.loads(await command(provider, *words, "--json", code=code))


async def test_every_command_tells_the_money_of_the_chain_with_and_without_the_node(shared_arena: Arena):
    market = shared_arena.market
    async with asyncio.timeout(120), running(shared_arena) as provider:
        payer, silent = await Account.funded(market, 1), await Account.funded(market, 2)
        before = await market.contracts.token_balance(provider.address)
        await payer.post("Prompt==HYPERLINK()")
        deal = (await reached(provider, "j1", "PROPOSED"))["deal_id"]
        await payer.agree(deal)
        await reached(provider, "j1", "SUBMITTED")
        await payer.accept(deal)
        await reached(provider, "j1", "PAID")
        await silent.post()
        await silent.agree((await reached(provider, "j2", "PROPOSED"))["deal_id"])
        await reached(provider, "j2", "SUBMITTED")
        after = await market.contracts.token_balance(provider.address)

        running_answers = await every_answer(provider)
        earnings = await told_by_status(provider, locked_wei=str(TOKEN))
        assert earnings["paid_wei"] == earnings["day_wei"] == earnings["month_wei"] == str(TOKEN)
        assert earnings["net_wei"] == str(TOKEN)
        assert earnings["claimable_wei"] == "0"
        assert int(earnings["gas_wei"]) > 0
        await provider.kill()
        assert await every_answer(provider) == running_answers

        balance, audit, jobs, found = running_answers
        assert balance["token_wei"] == str(after)
        assert balance["locked"] == {
            "timeout_wei": "0",
            "results_wei": str(TOKEN),
            "total_wei": str(TOKEN),
        }
        assert (balance["claimable_wei"], balance["promised_wei"]) == ("0", "0")
        (claim,) = balance["claims"]
        assert (claim["job_id"], claim["amount_wei"], claim["due"]) == ("j2", str(3 * TOKEN), False)
        assert after - before == int(balance["net_wei"]) - int(balance["locked"]["total_wei"])
        assert audit["equal"]
        assert audit["payments"] == 13
        assert [job["job_id"] for job in jobs] == ["j2"]
        assert [(one["account"], one["paid"], one["open"]) for one in found] == [
            (payer.address, 1, 0),
            (silent.address, 0, 1),
        ]

        shown = await told(provider, "jobs", "show", "j1")
        assert shown["money"]["earned_wei"] == shown["paid_wei"] == str(TOKEN)
        assert len(shown["money"]["payments"]) == 5
        assert int(shown["gas_wei"]) == sum(int(tx["fee_wei"]) for tx in shown["transactions"]) > 0

        rows = list(csv.DictReader(io.StringIO(await command(provider, "jobs", "export", "--csv"))))
        assert [(row["job_id"], row["net"], row["locked"]) for row in rows] == [
            ("j1", "1", "0"),
            ("j2", "0", "1"),
        ]
        assert rows[0]["prompt"].startswith("'=")
        file = provider.directory / "payments.csv"
        await command(provider, "jobs", "export", "--rows", "payments", "--out", str(file))
        payments = list(csv.DictReader(io.StringIO(file.read_text())))
        signs = {"paid_in": -1, "slashed": 0}
        flowed = sum(signs.get(row["direction"], 1) * int(row["amount_wei"]) for row in payments)
        assert flowed == after - before


async def told_by_status(provider, **expected: str) -> dict[str, str]:
    """Wait until the status says so of the earnings, and return them."""
    while True:
        async with aiohttp.ClientSession() as session, session.get(f"{provider.url}/api/v1/status") as answer:
            earnings = (await answer.json()).get("earnings", {})
        if expected.items() <= earnings.items():
            return dict(earnings)
        await asyncio.sleep(0.1)


async def every_answer(provider) -> tuple:
    balance = await told(provider, "wallet", "balance")
    audit = await told(provider, "jobs", "audit")
    audit.pop("last_block")
    jobs = await told(provider, "jobs", "list", "--phase", "SUBMITTED")
    return balance, audit, jobs, await told(provider, "jobs", "counterparties")


async def test_a_ledger_that_lies_is_found_out_row_by_row(shared_arena: Arena):
    async with asyncio.timeout(60), running(shared_arena) as provider:
        requester = await Account.funded(shared_arena.market, 1)
        for number in (1, 2):
            await requester.post()
            await reached(provider, f"j{number}", "PROPOSED")
        await provider.kill()
        with sqlite3.connect(provider.data / "journal.sqlite") as journal:
            (forged,) = journal.execute(
                "SELECT tx_hash FROM payments ORDER BY block_number LIMIT 1"
            ).fetchone()
            journal.execute("UPDATE payments SET amount_wei = amount_wei || '0' WHERE tx_hash = ?", (forged,))
            journal.execute("DELETE FROM payments WHERE tx_hash != ?", (forged,))
        journal.close()
        audit = await told(provider, "jobs", "audit", code=1)
        assert not audit["equal"]
        wrong, missing = audit["differences"]
        assert wrong["tx_hash"] == forged
        assert wrong["ledger"]["amount_wei"] == str(10 * TOKEN)
        assert wrong["chain"]["amount_wei"] == str(TOKEN)
        assert missing["ledger"] is None
        assert missing["chain"]["amount_wei"] == str(TOKEN)


async def test_a_deal_that_the_journal_never_had_is_named(shared_arena: Arena):
    """What a second data directory with the same key did shows as a deal nobody here knows."""
    async with asyncio.timeout(60), running(shared_arena) as provider:
        requester = await Account.funded(shared_arena.market, 1)
        for number in (1, 2):
            await requester.post()
            await reached(provider, f"j{number}", "PROPOSED")
        forgotten = (await reached(provider, "j2", "PROPOSED"))["deal_id"]
        await provider.kill()
        with sqlite3.connect(provider.data / "journal.sqlite") as journal:
            journal.execute("DELETE FROM jobs WHERE deal_id = ?", (forgotten,))
            journal.execute("DELETE FROM payments WHERE deal_id = ?", (forgotten,))
        journal.close()
        audit = await told(provider, "jobs", "audit", code=1)
        assert audit["unknown_deals"] == [forgotten]
        assert audit["differences"] == []
        assert f"deal {forgotten} names this account" in await command(provider, "jobs", "audit", code=1)
