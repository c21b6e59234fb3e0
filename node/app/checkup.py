"""The operator's self-check: one small check per thing that must be right, independent of each other."""

import asyncio
import time
from collections.abc import AsyncIterator

from node.admission.costs import in_the_way
from node.admission.disk import data_room
from node.admission.rules import GAS_PER_DEAL
from node.app.checks import Check, problem
from node.app.fleet_checks import check_fleet
from node.app.gpu_checks import check_gpus, read_gpus
from node.app.ipfs import check_ipfs
from node.app.parties import OpenMarket, open_halts, open_market
from node.app.profile_check import check_profile
from node.app.room import disk_problem
from node.app.serving import unserved_modules
from node.app.store_check import check_store
from node.app.target_checks import check_targets
from node.app.timing import least_price, run_times
from node.app.wallet import open_wallet, policy_problem, wallet_address
from node.app.worker_checks import check_standalone_workers
from node.chain.endpoints import EndpointPool
from node.chain.rules import DeploymentRules, MediationClock
from node.chain.signer import Key
from node.chain.survey import Survey
from node.config import Config
from node.errors import Misconfigured, NodeError, Unreachable
from node.job.amounts import tokens
from node.pipeline.profiles import load_profile
from node.types import Wei

MANY_DEALS = 1000
SHORT_JUDGE_S = 6 * 3600


async def check_everything(config: Config, key: Key | None = None) -> list[Check]:
    """Return all checks; never raises for anything that a check is about.

    ``key`` is the opened wallet, if it is opened already.
    """
    worker = config.worker
    if worker.backend == "ray":
        rendering = [await check_fleet(config)]
    elif worker.sockets:
        rendering = await check_standalone_workers(worker)
    else:
        rendering = [check_profile(worker.profile, worker.residency, config.node.directory)]
    gpus = check_gpus(config, await read_gpus(config))
    checks = [*await check_halt(config), check_disk(config), *gpus, *rendering, check_modules(config)]
    checks += [*await check_store(config), await check_ipfs(config)]
    checks.append(await asyncio.to_thread(check_run_times, config))
    if config.mediator.enabled:
        checks.append(check_mediation(config))
    wallet = await asyncio.to_thread(check_wallet, config, key)
    checks += [wallet, check_policy(config), *await check_targets(config)]
    async for check in _chain_checks(config):
        checks.append(check)
    return checks


async def check_halt(config: Config) -> list[Check]:
    """Did the node stop itself for good? Nothing is said of a node that runs, or that never ran here."""
    if not (config.node.directory / "journal.sqlite").exists():
        return []
    try:
        with open_halts(config) as halts:
            reason = await halts.standing()
    except NodeError:
        return []
    if reason is None:
        return []
    remedy = "settle the reason, then sdv-node resume"
    return [problem("halt", f"the node halted itself: {reason}", remedy)]


def check_disk(config: Config) -> Check:
    """Is there room for results?"""
    directory = config.node.directory
    short = disk_problem(config, int(config.admission.initial_job_gb * 10**9))
    if short is not None:
        return problem("disk", f"{directory}: {short}", "sdv-node clean --dry-run shows what could go")
    return Check("disk", "ok", f"{data_room(directory).free_bytes / 10**9:.1f} GB free at {directory}")


def check_modules(config: Config) -> Check:
    """Are the modules on offer computed with the profile's models?"""
    if not config.market.modules:
        return Check("modules", "skipped", "market.modules is empty: this node takes no jobs")
    try:
        profile = load_profile(config.worker.profile)
    except NodeError:
        return Check("modules", "skipped", "no profile")
    try:
        unserved = unserved_modules(profile, config.market.modules)
    except NodeError as error:
        return problem("modules", str(error))
    served = [module for module in config.market.modules if module not in unserved]
    if not served:
        return problem(
            "modules",
            f"none of market.modules is served by profile {profile.name}, which is for "
            f"{', '.join(profile.serves)}",
            "set market.modules or worker.profile",
        )
    if unserved:
        return Check(
            "modules",
            "warning",
            f"profile {profile.name} does not serve {', '.join(unserved)}: such offers are declined",
            "remove them from market.modules, or set worker.profile to one that serves them",
        )
    return Check("modules", "ok", f"{len(served)} served by profile {profile.name}")


def check_mediation(config: Config) -> Check:
    """Can this node rule on the results of others?"""
    try:
        profile = load_profile(config.worker.profile)
    except NodeError:
        return Check("mediation", "skipped", "no profile")
    fee = f"for {tokens(config.pricing.mediation_fee)} tokens or more"
    if profile.made_here and not config.market.allow_toy_models:
        return Check(
            "mediation",
            "warning",
            f"profile {profile.name} has toy models: every case of real ones is declined",
            "set worker.profile to that of the modules to rule on",
        )
    return Check("mediation", "ok", f"rules on {', '.join(profile.serves)} with {profile.name}, {fee}")


def check_run_times(config: Config) -> Check:
    """Is it known how long jobs take here? Without that every job counts as the settings say."""
    try:
        status = run_times(config).status()
    except NodeError:
        return Check("run times", "skipped", "no profile")
    if status["problem"] is not None:
        return Check("run times", "warning", str(status["problem"]))
    if status["measured"]:
        return Check("run times", "ok", f"measured with profile {status['profile']} on {status['gpu']}")
    return Check(
        "run times",
        "warning",
        f"not measured: every job is taken for one of {config.admission.initial_job_s:g} s "
        "(admission.initial_job_s)",
        "sdv-node bench",
    )


def check_wallet(config: Config, key: Key | None) -> Check:
    """Can the key be decrypted? ``key`` is one that was already, with a typed password."""
    try:
        address = wallet_address(config)
    except NodeError as error:
        return problem("wallet", str(error), "sdv-node wallet new")
    if key is not None:
        return Check("wallet", "ok", f"{address}, opened with a typed password as no password file is set")
    if config.password_path is None and not config.wallet.remote_signer:
        return problem("wallet", f"{address}, but no password file is set", "set wallet.password_file")
    try:
        open_wallet(config)
    except NodeError as error:
        return problem("wallet", str(error))
    return Check("wallet", "ok", address)


def check_policy(config: Config) -> Check:
    """Do the caps of the signing policy allow the deals that are offered?"""
    if (found := policy_problem(config, least_price(config))) is not None:
        return problem("policy", found)
    return Check("policy", "ok", "its caps allow the deals on offer")


async def _chain_checks(config: Config) -> AsyncIterator[Check]:
    section = config.chain
    try:
        async with open_market(section) as market:
            head = await market.chain.head()
            yield Check("rpc", "ok", f"chain {market.contracts.place.chain_id} at block {head.number}")
            await Survey(market.rpc, depth=section.confirmations).look()
            for check in check_endpoints(market.rpc, time.time()):
                yield check
            yield Check("contracts", "ok", f"controller {market.contracts.addresses.controller}")
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
    finding = f"{balance / 10**18:g} tokens, a deal locks {max(first, second) / 10**18:g}"
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
