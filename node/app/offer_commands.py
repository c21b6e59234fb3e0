"""The offer's commands while no node runs: the same acts, done by the command with the node's journal."""

from typing import Any

from node.app.announce import SHOW, Announcer
from node.app.gpu_checks import read_gpus
from node.app.gpu_need import judged_once
from node.app.offer_record import OfferRecord
from node.app.offering import Offering
from node.app.parties import OpenMarket, open_market, spending_wallet
from node.app.serving import Serving
from node.app.timing import prices_of, run_times
from node.app.wallet import wallet_address
from node.chain.signer import Key
from node.clock import SystemClock
from node.config import Config
from node.journal.database import Database
from node.journal.marks import Marks
from node.publisher.blockstore import BlockStore
from node.publisher.publish import Publisher


async def carry_out(config: Config, verb: str, key: Key | None = None) -> dict[str, Any]:
    """Show, publish or withdraw the offer. ``key`` is the opened wallet, if it is opened already.

    Raises InUse if a node holds the journal after all, Halted if something is to be sent while a halt stands.
    """
    async with open_market(config.chain) as market:
        publisher = Publisher(BlockStore(config.node.directory / "ipfs"))
        if verb == SHOW:
            return await _look(config, market, publisher)
        async with spending_wallet(config, market, key=key) as wallet:
            clock = SystemClock()
            announcer = Announcer(
                await _offering(config, market),
                chain=market.chain,
                contracts=market.contracts,
                transactions=wallet.transactions,
                signer=wallet.key,
                publisher=publisher,
                marks=Marks(wallet.database, clock),
                clock=clock,
            )
            return await announcer.verbs()[verb]({})


async def _look(config: Config, market: OpenMarket, publisher: Publisher) -> dict[str, Any]:
    database = Database(config.node.directory)
    try:
        record = OfferRecord(
            await _offering(config, market),
            chain=market.chain,
            contracts=market.contracts,
            publisher=publisher,
            marks=Marks(database, SystemClock()),
        )
        return await record.look()
    finally:
        database.close()


async def _offering(config: Config, market: OpenMarket) -> Offering:
    report = await read_gpus(config)
    judgement = judged_once(config, report)
    return Offering(
        config=config,
        serving=Serving(config.worker.profile, None if config.worker.elsewhere else config.node.directory),
        place=market.contracts.place,
        provider=wallet_address(config),
        prices=prices_of(
            config, run_times(config), silence_has_remedy=market.contracts.rules.silence_has_remedy
        ),
        cards=lambda: report.gpus,
        shortage=lambda: None if judgement is None else judgement.obstacle,
    )
