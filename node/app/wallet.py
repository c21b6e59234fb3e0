"""The operator's key as the settings name it, opened, and behind the signing policy."""

import os
from pathlib import Path

from node.chain.contracts import MarketContracts
from node.chain.fees import GWEI, TxSettings
from node.chain.keystore import keystore_address, load_signer, read_password
from node.chain.policy import Caps, Policy
from node.chain.policy_signer import PolicySigner
from node.chain.remote_signer import RemoteSigner
from node.chain.signer import Key
from node.clock import SystemClock
from node.config import ChainSection, Config
from node.errors import Misconfigured
from node.job.amounts import tokens
from node.journal.database import Database
from node.journal.spending import Spending
from node.types import Address, Wei


def wallet_address(config: Config) -> Address:
    """Return the operator's account, without password and without network. Raises Misconfigured."""
    if config.wallet.remote_signer:
        if not config.wallet.address:
            raise Misconfigured("wallet.remote_signer is set: set wallet.address to the account it signs for")
        return Address(config.wallet.address)
    address = keystore_address(_keystore(config))
    if config.wallet.address and config.wallet.address != address:
        raise Misconfigured(
            f"wallet.address is {config.wallet.address}, but the keystore is for {address}: "
            f"correct the setting, or set wallet.keystore to another file than {config.keystore_path}"
        )
    return address


def open_wallet(config: Config) -> Key:
    """Decrypt the operator's key, or name the remote signer that has it. Raises Misconfigured."""
    address = wallet_address(config)
    if config.wallet.remote_signer:
        return RemoteSigner(config.wallet.remote_signer, address)
    password = config.password_path
    if password is None:
        raise Misconfigured(
            "the keystore needs its password: set wallet.password_file to a file that only you can read, "
            "or run this on a terminal and type it"
        )
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    service_credential = credentials is not None and password.parent == Path(credentials)
    return load_signer(config.keystore_path, read_password(password, service_credential=service_credential))


def policy_problem(config: Config, least_wei: Wei) -> str | None:
    """Return why the policy's caps forbid the deals that the other settings offer, or None.

    ``least_wei`` is what the cheapest job costs.
    """
    deal, caps = config.deal, config.policy
    takes = deal.timeout_collateral + least_wei * deal.results_collateral_multiple
    for name in ("max_per_deal", "max_per_counterparty", "max_per_hour"):
        cap = getattr(caps, name)
        if cap < takes:
            return f"policy.{name} is {tokens(cap)} tokens, and one deal can take {tokens(takes)}: raise it"
    return None


def _keystore(config: Config) -> Path:
    if not config.keystore_path.exists():
        raise Misconfigured(f"there is no key at {config.keystore_path}: make one with sdv-node wallet new")
    return config.keystore_path


def guarded(key: Key, config: Config, contracts: MarketContracts, database: Database) -> PolicySigner:
    """Return a key that signs only what the settings allow on this market. Raises Misconfigured."""
    caps, payout = config.policy, config.wallet.payout_address
    policy = Policy(
        chain_id=contracts.place.chain_id,
        account=key.address,
        market=contracts.addresses,
        payout=Address(payout) if payout else None,
        max_fee_wei=transaction_settings(config.chain).max_fee_cap_wei,
        caps=Caps(
            per_deal_wei=caps.max_per_deal,
            per_hour_wei=caps.max_per_hour,
            per_counterparty_wei=caps.max_per_counterparty,
            gas_per_hour_wei=caps.max_gas_per_hour,
        ),
        mediates=config.mediator.enabled,
    )
    return PolicySigner(key, policy, memory=Spending(database), deals=contracts, clock=SystemClock())


def transaction_settings(section: ChainSection) -> TxSettings:
    """Return how transactions are paid for, from the settings in gwei."""
    tip = max(1, int(section.min_tip_gwei * GWEI))
    cap = int(section.max_fee_gwei * GWEI)
    defaults = TxSettings()
    return TxSettings(
        confirmations=section.confirmations,
        poll_interval_s=section.poll_interval_s,
        resubmit_after_s=section.resubmit_after_s,
        tip_floor_wei=Wei(min(tip, cap)),
        max_fee_floor_wei=Wei(min(max(defaults.max_fee_floor_wei, tip), cap)),
        max_fee_cap_wei=Wei(cap),
    )
