"""What this node offers: its settings as an offer document, and why it may offer nothing."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from node.app.serving import Serving
from node.app.timing import Prices
from node.config import Config
from node.gpu.readings import GpuInfo
from node.job.deal import MarketPlace
from node.job.modules import Module, resolve_module
from node.job.offer_document import Gpu, OfferDocument
from node.job.terms import neutral
from node.types import Address
from node.worker.pool import is_toy


def models_problem(config: Config, serving: Serving) -> str | None:
    """Return why no job may be taken with the models of this node, or None."""
    if not config.market.allow_toy_models and is_toy(config.worker.profile):
        return (
            f"profile {config.worker.profile} has toy models: set worker.profile to one with real "
            "weights, or market.allow_toy_models on a private market"
        )
    if (problem := serving.problem()) is not None:
        return f"profile {config.worker.profile} is not complete: {problem}"
    return None


@dataclass(frozen=True, slots=True)
class Offering:
    """The offer of one node.

    ``determinism_class`` is None while the worker has not told it; ``cards`` are the GPUs that answer.
    ``unusable``: why no GPU may be used now, or None. ``shortage``: why nobody can be hired for some time, or
    None.
    """

    config: Config
    serving: Serving
    place: MarketPlace
    provider: Address
    prices: Prices
    determinism_class: Callable[[], str | None] = lambda: None
    ready: Callable[[], bool] = lambda: True
    cards: Callable[[], tuple[GpuInfo, ...]] = lambda: ()
    unusable: Callable[[], str | None] = lambda: None
    shortage: Callable[[], str | None] = lambda: None

    @property
    def public_url(self) -> str:
        """Where requesters reach the node; empty if they cannot."""
        return self.config.http.public_url

    def problem(self) -> str | None:
        """Return why this node may not take jobs, so that nothing is published, or None."""
        if not self.public_url:
            return "requesters cannot reach this node: set http.public_url"
        if (problem := models_problem(self.config, self.serving)) is not None:
            return problem
        if not self._mediators():
            return "no mediator is named beside this node itself: set market.mediators"
        if not self._served():
            return f"profile {self.config.worker.profile} serves none of market.modules"
        if not self._tags():
            return (
                "every module this node serves has prices of its own, and an offer has one price list: "
                "jobs are proposed to; put the prices into [pricing] to be hired on them"
            )
        return None

    def waits(self) -> str | None:
        """Return what a fresh offer waits for, or None: nobody is to be hired for what cannot begin now."""
        return self.unusable() or (None if self.ready() else "the worker is loading its models")

    def document(self, now: int, previous: OfferDocument | None) -> OfferDocument:
        """Return the offer as of block time ``now``; what cannot be read at the moment stays as it was."""
        gpus = tuple(Gpu(gpu.name[:64], gpu.memory_total_bytes) for gpu in self.cards()[:16])
        document = OfferDocument(
            chain_id=self.place.chain_id,
            controller=self.place.controller,
            provider=self.provider,
            modules=self._tags(),
            terms=self.prices.standing,
            mediators=self._mediators(),
            max_open_deals=self.config.admission.max_open_deals,
            valid_until=now + self.config.market.offer_valid_s,
            contact_url=self.public_url,
            gpus=gpus,
            determinism_class=self.determinism_class() or "",
        )
        if previous is None:
            return document
        return replace(
            document,
            gpus=document.gpus or previous.gpus,
            determinism_class=document.determinism_class or previous.determinism_class,
        )

    def still_good(self, published: OfferDocument, now: int) -> bool:
        """Whether a published offer says what is offered now and is good for another third of its time."""
        wanted = self.document(now, published)
        left_s = published.valid_until - now
        return (
            replace(wanted, valid_until=published.valid_until) == published
            and left_s > self.config.market.offer_valid_s / 3
            and left_s <= self.config.market.offer_valid_s
        )

    def _mediators(self) -> tuple[Address, ...]:
        return neutral(self.config.market.mediators, self.provider)

    def _served(self) -> list[Module]:
        modules = [resolve_module(name) for name in self.config.market.modules]
        return [module for module in modules if self.serving.unserved(module.canonical) is None]

    def _tags(self) -> tuple[str, ...]:
        """Return what can be hired: a module with prices of its own is only proposed, the offer has none."""
        own = self.prices.own
        return tuple(dict.fromkeys(module.tag for module in self._served() if module.canonical not in own))
