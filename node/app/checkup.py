"""The operator's self-check: one small check per thing that must be right, independent of each other."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable

from node.admission.disk import data_room
from node.app.chain_checks import chain_checks
from node.app.checks import Check, problem
from node.app.fleet_checks import check_fleet
from node.app.golden_check import check_golden
from node.app.gpu_checks import check_gpus, read_gpus
from node.app.ipfs import check_ipfs
from node.app.owner_check import check_owner
from node.app.parties import open_halts
from node.app.port_checks import check_port, check_public_url
from node.app.profile_check import check_profile
from node.app.room import disk_problem
from node.app.serving import unserved_modules
from node.app.store_check import check_store
from node.app.target_checks import check_targets
from node.app.timing import least_price, run_times
from node.app.unit_checks import check_unit
from node.app.wallet import open_wallet, policy_problem, wallet_address
from node.app.weights_check import check_weights
from node.app.worker_checks import check_standalone_workers
from node.chain.signer import Key
from node.config import Config
from node.errors import NodeError
from node.foreign_settings import foreign_warnings
from node.job.amounts import tokens
from node.pipeline.profiles import load_profile

Doing = Callable[[str], None]
"""Hears what is being looked at, in words for whoever waits."""


async def check_everything(
    config: Config,
    key: Key | None = None,
    *,
    quick: bool = False,
    found: Callable[[Check], None] = lambda _: None,
    doing: Doing = lambda _: None,
) -> list[Check]:
    """Return all checks; never raises for anything that a check is about.

    ``key`` is the opened wallet, if it is opened already. ``quick`` leaves out what takes long: hashing the
    weights and rendering. ``found`` hears of each check as it is made.
    """
    checks = []
    async for check in _each(config, key, doing, quick=quick):
        found(check)
        checks.append(check)
    return checks


async def _each(config: Config, key: Key | None, doing: Doing, *, quick: bool) -> AsyncIterator[Check]:
    worker = config.worker
    for warning in foreign_warnings(os.environ):
        yield Check("config", "warning", warning)
    strange = check_owner(config.node.directory)
    for check in [*strange, *await check_halt(config), check_disk(config)]:
        yield check
    doing("the GPUs")
    for check in check_gpus(config, await read_gpus(config)):
        yield check
    if worker.backend == "ray":
        doing("the fleet")
        yield await check_fleet(config)
    elif worker.sockets:
        for check in await check_standalone_workers(worker):
            yield check
    else:
        profile = check_profile(worker.profile, worker.residency, config.node.directory)
        yield profile
        if profile.verdict == "ok" and not quick and not strange:
            yield await check_weights(worker.profile, config.node.directory, doing)
            yield await check_golden(config, doing)
    yield check_modules(config)
    doing("where results are kept")
    for check in await check_store(config):
        yield check
    yield await check_ipfs(config)
    yield await check_port(config)
    yield await check_public_url(config)
    yield await asyncio.to_thread(check_run_times, config)
    if config.mediator.enabled:
        yield check_mediation(config)
    doing("the wallet")
    yield await asyncio.to_thread(check_wallet, config, key)
    yield check_policy(config)
    doing("Kubo, pinning services and gateways")
    for check in await check_targets(config):
        yield check
    doing("the service")
    yield await check_unit()
    doing("the chain")
    async for check in chain_checks(config):
        yield check


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
