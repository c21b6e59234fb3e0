"""Taking over a changed settings file while the node runs: all that is live at once, or nothing.

The rooms are handed their new settings without a pause between them. Jobs that are proposed or agreed keep
the terms they have, which are in the journal; the published offer is renewed on the new ones.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import structlog

from node.app.assembly import Assembly
from node.app.control import Arguments, Verb
from node.app.facts import facts
from node.app.following import Door
from node.app.gauges import Gauges
from node.app.live_settings import NOTHING_CHANGED, ReloadRefused, compared, sections_changed
from node.app.timing import prices_of
from node.app.treasury import Treasury
from node.app.wallet import policy_problem
from node.config_layers import Layers
from node.errors import Misconfigured, NodeError
from node.observe.logging import set_level

RELOAD = "reload"


@dataclass(slots=True)
class Reread:
    """Where the settings of a running node come from, to be read again.

    ``read`` reads all layers anew; ``asked`` is set to have that done, as by SIGHUP.
    """

    layers: Layers
    read: Callable[[], Layers]
    asked: asyncio.Event = field(default_factory=asyncio.Event)


class Reloading:
    """Reads the settings again when asked to. ``door``, ``gauges`` and ``treasury`` go by them, too."""

    def __init__(
        self, node: Assembly, reread: Reread | None, *, door: Door, gauges: Gauges, treasury: Treasury
    ) -> None:
        self._node = node
        self._reread = reread
        self._door = door
        self._gauges = gauges
        self._treasury = treasury
        self._log = structlog.get_logger()

    def verbs(self) -> Mapping[str, Verb]:
        """Return the commands by name."""
        return {RELOAD: self._reload}

    async def run(self) -> None:
        """Read again whenever asked by a signal, until cancelled; a refusal is logged."""
        if self._reread is None:
            return
        while True:
            await self._reread.asked.wait()
            self._reread.asked.clear()
            try:
                await self._reload({})
            except NodeError as problem:
                self._log.error("reload_refused", problem=str(problem))

    async def _reload(self, _: Arguments) -> dict[str, Any]:
        if self._reread is None:
            raise ReloadRefused("this node was not started from a settings file: restart it")
        fresh = await asyncio.to_thread(self._reread.read)
        return self._take_over(fresh, self._reread)

    def _take_over(self, fresh: Layers, reread: Reread) -> dict[str, Any]:
        """Compare and apply. Nothing is awaited, so that no room sees half of it."""
        node = self._node
        reload = compared(node.config, reread.layers, fresh)
        config = reload.config
        # Whatever may fail comes before the first change.
        try:
            prices = prices_of(
                config, node.times, silence_has_remedy=node.market.contracts.rules.silence_has_remedy
            )
            admitting, door = node.admitting.built(config, prices), self._door.built(config, prices)
        except Misconfigured as problem:
            raise ReloadRefused(f"{NOTHING_CHANGED}: {problem}") from problem
        reread.layers = reload.layers
        node.config, node.prices = config, prices
        node.admitting.take_over(admitting)
        self._door.take_over(door)
        self._gauges.take_over(config, prices.least_wei)
        self._treasury.take_over(config)
        node.gpus.take_over(config.gpu)
        node.announcer.take_over(config, prices)
        node.snapshot.update(**facts(config, prices, node.listener.url))
        if "log" in sections_changed(reload):
            set_level(config.log.level)
        node.announcer.look_again()
        told = [asdict(change) for change in reload.changed]
        warning = policy_problem(config, prices.least_wei)
        self._log.info("settings_reloaded", changed=told, waiting_for_restart=list(reload.waiting))
        return {
            "file": None if fresh.file is None else str(fresh.file),
            "changed": told,
            "waiting_for_restart": list(reload.waiting),
            "warnings": [warning] if warning else [],
        }
