"""The providers that could do a job, as a table that changes while they are compared."""

from dataclasses import dataclass, replace

from rich.table import Table

from node.cli.context import tokens
from node.requester.steps import (
    Chosen,
    DealAgreed,
    Hired,
    HireLapsed,
    HireRefused,
    OfferFound,
    OfferIgnored,
    ProposalIgnored,
    ProposalSeen,
    Step,
)
from node.requester.track_record import TrackRecord
from node.types import Address, DealId, Wei

WIDE = 110
"""From so many columns on, addresses are shown whole."""
IGNORED = "ignored"
PROPOSES = "proposes"
MAX_AMOUNT = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One provider; the newest that is known of it."""

    provider: Address
    state: str
    price_wei: Wei | None = None
    locked_wei: Wei | None = None
    record: TrackRecord | None = None
    reason: str = ""


class ProposalTable:
    """Rows by provider, cheapest first, those that cannot be taken last."""

    def __init__(self) -> None:
        self._rows: dict[Address, Row] = {}
        self._deals: dict[DealId, Address] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self._rows)

    def note(self, step: Step) -> bool:
        """Take note of a step; return whether the table says all that it says."""
        match step:
            case ProposalSeen() | OfferFound():
                state = PROPOSES if isinstance(step, ProposalSeen) else "can be hired"
                if isinstance(step, ProposalSeen):
                    self._deals[step.deal_id] = step.provider
                known = self._rows.get(step.provider)
                if known is None or known.state != PROPOSES:
                    row = Row(step.provider, state, step.price_wei, step.locked_wei, step.record)
                    self._rows[step.provider] = row
                return True
            case ProposalIgnored() | OfferIgnored():
                self._change(step.provider, IGNORED, step.reason)
                return True
            case Chosen():
                self._deals[step.deal_id] = step.provider
                self._change(step.provider, "taken")
            case Hired():
                self._change(step.provider, "hired, has to agree")
            case HireRefused():
                self._change(step.provider, "refused", step.reason)
            case HireLapsed():
                self._change(step.provider, "stayed silent")
            case DealAgreed() if step.deal_id in self._deals:
                self._change(self._deals[step.deal_id], "agreed")
            case _:
                pass
        return False

    def shown(self, symbol: str, width: int, height: int) -> Table:
        """Return the table for a terminal of this size; what does not fit is counted."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("provider", no_wrap=True)
        table.add_column(f"price {symbol}", justify="right", no_wrap=True)
        table.add_column("locks", justify="right", no_wrap=True)
        table.add_column("record", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True, overflow="ellipsis", ratio=1)
        rows = sorted(self._rows.values(), key=_order)
        room = max(1, height)
        shown = rows if len(rows) <= room else rows[: max(1, room - 1)]
        for row in shown:
            address = row.provider if width >= WIDE else f"{row.provider[:8]}…{row.provider[-4:]}"
            state = f"{row.state}: {row.reason}" if row.reason else row.state
            table.add_row(
                address,
                _amount(row.price_wei),
                _amount(row.locked_wei),
                f"{row.record.accepted}/{row.record.ended}" if row.record else "new",
                state,
                style="dim" if row.state == IGNORED else None,
            )
        if len(shown) < len(rows):
            table.add_row(f"and {len(rows) - len(shown)} more")
        return table

    def _change(self, provider: Address, state: str, reason: str = "") -> None:
        row = self._rows.get(provider, Row(provider, state))
        self._rows[provider] = replace(row, state=state, reason=reason)


def _amount(wei: Wei | None) -> str:
    """Return an amount in whole tokens; a long one is cut, the lines about it have all digits."""
    text = "" if wei is None else tokens(wei)
    return text if len(text) <= MAX_AMOUNT else text[: MAX_AMOUNT - 1] + "…"


def _order(row: Row) -> tuple[bool, int, str]:
    return row.state == IGNORED, row.price_wei if row.price_wei is not None else 2**256, row.provider
