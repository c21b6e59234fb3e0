"""The self-check of the market: endpoints, contracts, the wallet's money, judges and the public address."""

import asyncio
import time
from collections.abc import AsyncIterator

from node.admission.costs import in_the_way
from node.admission.rules import GAS_PER_DEAL
from node.app.checks import Check, problem
from node.app.clock_check import check_clock
from node.app.contract_code import check_code
from node.app.parties import OpenMarket, open_market
from node.app.timing import least_price
from node.app.wallet import wallet_address
from node.chain.endpoints import EndpointPool
from node.chain.rules import DeploymentRules, MediationClock
from node.chain.survey import Survey
from node.config import Config
from node.errors import Misconfigured, NodeError, Unreachable
from node.types import Wei

MANY_DEALS = 1000
SHORT_JUDGE_S = 6 * 3600


async def chain_checks(config: Config) -> AsyncIterator[Check]:
    """Yield what is found on the chain, as far as it is reached."""
    section = config.chain
    try:
        async with open_market(section) as market:
            head = await market.chain.head()
            yield Check("rpc", "ok", f"chain {market.contracts.place.chain_id} at block {head.number}")
            await Survey(market.rpc, depth=section.confirmations).look()
            for check in check_endpoints(market.rpc, time.time()):
                yield check
            yield await check_clock(config.chain, head.timestamp)
            yield await check_code(market.chain, market.contracts.addresses)
            yield check_rules(market.contracts.rules, config.deal.judge_timeout_s)
            async for check in _money_checks(config, market):
                yield check
            yield await _address_check(config, market)
    except Unreachable as error:
        yield problem("rpc", str(error), "check chain.rpc_urls", Unreachable.exit_code)
    except Misconfigured as error:
        yield problem("contracts", str(error))
    except NodeError as error:
        yield problem("rpc", str(error))


def check_rules(rules: DeploymentRules, judge_timeout_s: int) -> Check:
    """What can this market be relied on for?"""
    if rules.mediation_timeout_from is MediationClock.SUBMITTED and judge_timeout_s < SHORT_JUDGE_S:
        return problem(
            "rules",
            f"{rules}; a mediator has to rule within deal.judge_timeout_s, which is {judge_timeout_s} s",
            f"set deal.judge_timeout_s to {SHORT_JUDGE_S} or more",
        )
    if rules.escrow_can_drain:
        return Check(
            "rules",
            "warning",
            str(rules),
            "payment there is a statement of intent: keep admission.max_open_deals and prices small",
        )
    return Check("rules", "ok", str(rules))


def check_endpoints(pool: EndpointPool, now: float) -> list[Check]:
    """Does each endpoint answer, on this chain, with a head that advances and as the others do?

    ``now`` is wall time in seconds: a head's age is told, not judged, because a quiet chain has old blocks.
    """
    checks = []
    for report in pool.reports():
        age = "" if report.head_timestamp is None else f", {max(0, now - report.head_timestamp):.0f} s old"
        lag = f", {report.lag} blocks behind the best" if report.lag else ""
        if report.problem is None:
            finding = f"{report.name}: chain {pool.chain_id}, head {report.head}{age}{lag}"
            checks.append(Check("endpoint", "ok", finding))
        else:
            finding = f"{report.name}: {report.state}, head {report.head}{age}{lag}: {report.problem}"
            remedy = "see its status page, or take it out of chain.rpc_urls"
            checks.append(Check("endpoint", "warning", finding, remedy))
    if pool.split is not None:
        checks.append(problem("agreement", pool.split, "take the wrong endpoint out of chain.rpc_urls"))
    elif len(checks) > 1 and all(check.verdict == "ok" for check in checks):
        checks.append(Check("agreement", "ok", "the endpoints have the same blocks"))
    return checks


async def _money_checks(config: Config, market: OpenMarket) -> AsyncIterator[Check]:
    try:
        address = wallet_address(config)
    except NodeError:
        yield Check("balance", "skipped", "no wallet yet")
        return
    gas_wei, fees = await asyncio.gather(market.chain.balance(address), market.chain.fees())
    deals = gas_wei // max(1, GAS_PER_DEAL * (fees.base_fee_wei + fees.tip_wei))
    finding = f"gas for {deals if deals < MANY_DEALS else f'more than {MANY_DEALS}'} deals"
    if deals < config.admission.min_gas_deals:
        yield problem("gas", finding, f"send gas money to {address}")
    else:
        yield Check("gas", "ok", finding)
    contracts = market.contracts
    if not config.market.modules:
        nothing = "not needed: a node that takes no jobs locks nothing"
        yield Check("balance", "skipped", nothing)
        yield Check("allowance", "skipped", nothing)
        return
    first = config.deal.timeout_collateral
    price = least_price(config)
    second = price * config.deal.results_collateral_multiple
    balance = await contracts.token_balance(address)
    locked = max(first, second)
    at_once = f", so {balance // locked} at once" if locked else ""
    finding = f"{balance / 10**18:g} tokens, a deal locks {locked / 10**18:g}{at_once}"
    if balance < max(first, second):
        yield problem("balance", finding, f"send payment tokens to {address}")
    else:
        yield Check("balance", "ok", finding)
    caps = in_the_way(
        config.admission,
        price_wei=price,
        collateral_wei=Wei(max(first, second)),
        gas_price_wei=Wei(fees.base_fee_wei + fees.tip_wei),
    )
    for told in caps:
        yield problem("caps", told, "raise the cap, or lower what the node asks and locks")
    if await contracts.token_paused():
        yield problem("token", "paused by its owner: nothing can be locked or paid", "wait for its owner")
    if not contracts.rules.needs_allowance:
        yield Check("allowance", "ok", "not needed: this market takes collateral from the balance")
        return
    allowance = await contracts.token_allowance(address, contracts.addresses.payments)
    finding = f"{allowance / 10**18:g} tokens, a deal takes {(first + second) / 10**18:g}"
    if allowance < first + second:
        yield problem("allowance", finding, "sdv-node wallet approve TOKENS")
    else:
        yield Check("allowance", "ok", finding)


async def _address_check(config: Config, market: OpenMarket) -> Check:
    if not config.market.mediators:
        return problem("mediators", "none named, so no deal can be proposed", "set market.mediators")
    for mediator in config.market.mediators:
        if market.contracts.rules.escrow_can_drain and await market.chain.code(mediator):
            return problem(
                "mediators",
                f"{mediator} is a contract, and on this market only an account with a key can rule",
                "take it off market.mediators",
            )
    if not config.http.public_url:
        return Check(
            "address",
            "warning",
            "http.public_url is not set, so requesters cannot fetch results from this node",
            "set it to the address under which requesters reach the HTTP port",
        )
    try:
        user = await market.contracts.get_user(wallet_address(config))
    except NodeError as error:
        return problem("address", str(error))
    announced = user.url if user else "nothing"
    if announced != config.http.public_url:
        return Check("address", "ok", f"{config.http.public_url}, announced at the next start")
    offer = user.metadata_cid if user else ""
    hired = f"to be hired on the offer {offer}" if offer else "no offer is published: sdv-node offer show"
    return Check("address", "ok", f"announced as {announced}, {hired}")
