"""Telling the market where this node is: its public address in the ``Users`` registry."""

import hashlib

import structlog

from node.chain.client import Chain
from node.chain.contracts import MarketContracts
from node.chain.txmanager import Failed, TxIntent, TxManager
from node.errors import Retryable
from node.job.deal import ServiceType
from node.types import Address

PREFIX = "announce"


async def announce(
    public_url: str, *, chain: Chain, contracts: MarketContracts, transactions: TxManager, provider: Address
) -> None:
    """Make the registry name our public address and list us as a provider; does nothing if it does already.

    Raises Retryable if the contract refused or the chain did not answer.
    """
    if any(intent_id.startswith(PREFIX) for intent_id in transactions.pending()):
        raise Retryable("an earlier announcement is still on its way")
    user = await contracts.get_user(provider)
    roles = (ServiceType.RESOURCE_PROVIDER,)
    if user is None or user.url != public_url or ServiceType.RESOURCE_PROVIDER not in user.roles:
        # The block number makes a later return to an earlier address an intent of its own.
        head = await chain.head()
        digest = hashlib.sha256(public_url.encode()).hexdigest()[:12]
        metadata_cid = user.metadata_cid if user else ""
        call = contracts.update_user(metadata_cid, public_url, roles)
        await _send(transactions, TxIntent(f"{PREFIX}:url:{digest}:{head.number}", call))
    if provider not in await contracts.show_users_in_list(ServiceType.RESOURCE_PROVIDER):
        head = await chain.head()
        call = contracts.add_user_to_list(ServiceType.RESOURCE_PROVIDER)
        await _send(transactions, TxIntent(f"{PREFIX}:list:{head.number}", call))
    structlog.get_logger().info("announced", public_url=public_url)


async def _send(transactions: TxManager, intent: TxIntent) -> None:
    outcome = await transactions.send(intent)
    if isinstance(outcome, Failed):
        raise Retryable(f"the registry refused the announcement: {outcome.reason}")
