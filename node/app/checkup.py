"""The operator's self-check: one small check per thing that must be right, independent of each other."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from node.admission.rules import GAS_PER_DEAL
from node.app.parties import OpenMarket, open_market
from node.app.serving import unserved_modules
from node.chain.keystore import keystore_address, load_signer
from node.config import Config
from node.errors import Misconfigured, NodeError, Unreachable
from node.gpu.probe import probe
from node.pipeline.profiles import Profile, load_profile
from node.pipeline.weights.records import completeness
from node.types import Address

MANY_DEALS = 1000
Verdict = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it."""

    name: str
    verdict: Verdict
    finding: str
    remedy: str = ""
    exit_code: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the check for programs."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "finding": self.finding,
            "remedy": self.remedy,
        }


def problem(name: str, finding: str, remedy: str = "", exit_code: int = 1) -> Check:
    """Return a failed check."""
    return Check(name, "problem", finding, remedy, exit_code)


async def check_everything(config: Config) -> list[Check]:
    """Return all checks; never raises for anything that a check is about."""
    worker = config.worker
    profile = check_profile(worker.profile, worker.residency, config.node.directory)
    checks = [check_disk(config), check_gpu(), profile, check_modules(config)]
    wallet = await asyncio.to_thread(check_wallet, config)
    checks.append(wallet)
    async for check in _chain_checks(config):
        checks.append(check)  # noqa: PERF401 - an async comprehension would hide that each check may wait
    return checks


def check_disk(config: Config) -> Check:
    """Is there room for results?"""
    directory = config.node.directory
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    needed = int(config.admission.min_free_disk_gb * 10**9)
    finding = f"{free / 10**9:.1f} GB free at {directory}"
    if free < needed:
        return problem("disk", finding, f"free {needed / 10**9:.1f} GB, or set node.data_dir to another disk")
    return Check("disk", "ok", finding)


def check_gpu() -> Check:
    """Does NVML answer? Without a GPU the tiny profile still runs, so this alone is never a problem."""
    report = probe()
    if not report.gpus:
        return Check("gpu", "warning", report.problem or "no GPU", "only the tiny profile runs without one")
    found = ", ".join(
        f"{gpu.name}, {gpu.memory_free_bytes / 2**30:.1f} of {gpu.memory_total_bytes / 2**30:.1f} GiB free"
        for gpu in report.gpus
    )
    return Check("gpu", "warning" if report.problem else "ok", found, report.problem or "")


def check_profile(name: str, residency: str, data_dir: Path) -> Check:
    """Is the profile one that can be rendered here: its device there, its weights complete?"""
    try:
        profile = load_profile(name).placed(residency)
    except NodeError as error:
        return problem("profile", str(error))
    lacking = completeness(profile, data_dir)
    if lacking:
        return problem("profile", "; ".join(lacking), f"sdv-node models pull {profile.name}")
    return _device_problem(profile) or Check("profile", "ok", f"{profile.name} on {profile.device}")


def _device_problem(profile: Profile) -> Check | None:
    if profile.device != "cuda":
        return None
    gpus = probe().gpus
    if not gpus:
        return problem(
            "profile", f"{profile.name} needs an NVIDIA GPU and none was found", "set worker.profile"
        )
    largest = max(gpu.memory_total_bytes for gpu in gpus)
    if largest < profile.memory_gb * 1e9:
        return problem(
            "profile",
            f"{profile.name} needs {profile.memory_gb:g} GB of GPU memory, there are {largest / 1e9:.1f} GB",
            'set worker.residency to "swapped"' if profile.residency == "resident" else "set worker.profile",
        )
    return None


def check_modules(config: Config) -> Check:
    """Are the modules on offer computed with the profile's models?"""
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


def check_wallet(config: Config) -> Check:
    """Can the key be decrypted?"""
    try:
        address = keystore_address(config.keystore_path)
    except NodeError as error:
        return problem("wallet", str(error), "sdv-node wallet new")
    if config.password_path is None:
        return problem("wallet", f"{address}, but no password file is set", "set wallet.password_file")
    try:
        load_signer(config.keystore_path, config.password_path)
    except NodeError as error:
        return problem("wallet", str(error))
    return Check("wallet", "ok", address)


async def _chain_checks(config: Config) -> AsyncIterator[Check]:
    section = config.chain
    try:
        async with open_market(section) as market:
            head = await market.chain.head()
            yield Check("rpc", "ok", f"chain {market.contracts.place.chain_id} at block {head.number}")
            yield Check("contracts", "ok", f"controller {market.contracts.addresses.controller}")
            async for check in _money_checks(config, market):
                yield check
            yield await _address_check(config, market)
    except Unreachable as error:
        yield problem("rpc", str(error), "check chain.rpc_url", Unreachable.exit_code)
    except Misconfigured as error:
        yield problem("contracts", str(error))
    except NodeError as error:
        yield problem("rpc", str(error))


async def _money_checks(config: Config, market: OpenMarket) -> AsyncIterator[Check]:
    try:
        address = keystore_address(config.keystore_path)
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
    needed = max(
        config.deal.timeout_collateral,
        max(config.pricing.floor, config.pricing.per_job) * config.deal.results_collateral_multiple,
    )
    payments = market.contracts.addresses.payments
    for name, amount, remedy in (
        ("balance", await market.contracts.token_balance(address), f"send payment tokens to {address}"),
        (
            "allowance",
            await market.contracts.token_allowance(address, payments),
            "sdv-node wallet approve TOKENS",
        ),
    ):
        finding = f"{amount / 10**18:g} tokens, a deal locks {needed / 10**18:g}"
        yield problem(name, finding, remedy) if amount < needed else Check(name, "ok", finding)


async def _address_check(config: Config, market: OpenMarket) -> Check:
    if not config.market.mediators:
        return problem("mediators", "none named, so no deal can be proposed", "set market.mediators")
    if not config.http.public_url:
        return Check(
            "address",
            "warning",
            "http.public_url is not set, so requesters cannot fetch results from this node",
            "set it to the address under which requesters reach the HTTP port",
        )
    try:
        user = await market.contracts.get_user(Address(keystore_address(config.keystore_path)))
    except NodeError as error:
        return problem("address", str(error))
    announced = user.url if user else "nothing"
    if announced != config.http.public_url:
        return Check("address", "ok", f"{config.http.public_url}, announced at the next start")
    return Check("address", "ok", f"announced as {announced}")
