"""What the status says of the node that follows from its settings alone, not from what happens."""

from typing import Any

from node import __version__
from node.app.timing import Prices
from node.config import Config


def facts(config: Config, prices: Prices, own_url: str) -> dict[str, Any]:
    """Return the parts of the status by name; ``own_url`` is where this machine reaches the port."""
    return {
        "version": __version__,
        "gateway_url": config.http.public_url or own_url,
        "public_gateway": config.http.public_gateway,
        "price_wei": str(prices.least_wei),
        "modules": list(config.market.modules),
        "limits": {
            "max_open_deals": config.admission.max_open_deals,
            "max_open_proposals_per_requester": config.admission.max_open_proposals_per_requester,
        },
        "explorer": config.chain.explorer or None,
    }
