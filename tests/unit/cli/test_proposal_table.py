"""The table of providers: who is cheapest, what became of each, and no more lines than the terminal has."""

import io

from rich.console import Console

from node.cli.proposal_table import ProposalTable
from node.cli.run_display import RunDisplay, sentence
from node.job.deal import AgreementState
from node.requester import steps
from node.requester.track_record import TrackRecord
from node.types import Address, DealId, Wei

TOKEN = 10**18
FIRST, SECOND, THIRD = (Address("0x" + digit * 40) for digit in "abc")


def drawn(table: ProposalTable, width=120, height=20) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(table.shown("tLP", width, height))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def proposal(provider, price, record=None):
    return steps.ProposalSeen(DealId(f"j1-{provider[2:8]}"), provider, Wei(price), Wei(price + TOKEN), record)


def filled() -> ProposalTable:
    table = ProposalTable()
    assert table.note(proposal(FIRST, 3 * TOKEN))
    assert table.note(steps.OfferFound(SECOND, Wei(2 * TOKEN), Wei(3 * TOKEN), TrackRecord(3, 4)))
    assert table.note(steps.OfferIgnored(THIRD, "its offer was good until 5 s ago"))
    return table


def test_the_cheapest_comes_first_with_price_collateral_record_and_state():
    lines = drawn(filled())
    assert lines[0].split() == ["provider", "price", "tLP", "locks", "record", "state"]
    assert lines[1].split(maxsplit=4) == [SECOND, "2", "3", "3/4", "can be hired"]
    assert lines[2].split(maxsplit=4) == [FIRST, "3", "4", "new", "proposes"]
    assert "ignored: its offer was good until 5 s ago" in lines[3]


def test_what_becomes_of_a_provider_is_shown_in_its_row():
    table = filled()
    assert not table.note(steps.Chosen(DealId("j1-x"), SECOND, Wei(2 * TOKEN), 2))
    assert "taken" in drawn(table)[1]
    table.note(steps.Hired(DealId("j1-x"), SECOND, Wei(3 * TOKEN), 5))
    assert "has to agree" in drawn(table)[1]
    table.note(steps.HireRefused(SECOND, "its price is 1"))
    assert "refused: its price is 1" in drawn(table)[1]
    table.note(steps.HireLapsed(DealId("j1-x"), SECOND, Wei(3 * TOKEN)))
    assert "stayed silent" in drawn(table)[1]
    table.note(steps.DealAgreed(DealId(f"j1-{FIRST[2:8]}"), Wei(TOKEN)))
    assert "agreed" in drawn(table)[2]


def test_a_small_terminal_gets_short_addresses_and_a_count_of_what_does_not_fit():
    table = ProposalTable()
    for number in range(20):
        table.note(proposal(Address(f"0x{number:040x}"), (number + 1) * TOKEN + 1))
    lines = drawn(table, width=60, height=4)
    assert len(lines) == 1 + 3 + 1
    assert lines[1].split() == ["0x000000…0000", "1.0000000…", "2.0000000…", "new", "proposes"]
    assert lines[-1] == "and 17 more"
    assert all(len(line) <= 60 for line in lines)


def test_a_terminal_shows_the_table_while_it_is_compared_and_leaves_it_behind_once():
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, height=20)
    with RunDisplay(console) as display:
        display(steps.OfferFound(SECOND, Wei(2 * TOKEN), Wei(3 * TOKEN)))
        display(proposal(FIRST, 3 * TOKEN))
        display(steps.Chosen(DealId("j1-x"), SECOND, Wei(2 * TOKEN), 2))
        display(steps.Hired(DealId("j1-x"), SECOND, Wei(3 * TOKEN), 5))
        display(steps.DealAgreed(DealId("j1-x"), Wei(3 * TOKEN)))
    text = output.getvalue()
    assert "proposes 3" not in text  # the table says it, a line beside it would say it twice
    assert text.count("agreed\n") + text.count("agreed \n") <= 2
    assert f"Hired {SECOND}" in text
    assert "proposes" in text


def test_without_a_terminal_every_step_is_a_line():
    output = io.StringIO()
    with RunDisplay(Console(file=output, width=200)) as display:
        display(steps.OfferFound(SECOND, Wei(2 * TOKEN), Wei(3 * TOKEN), TrackRecord(3, 4)))
        display(steps.OfferIgnored(THIRD, "it has published no offer"))
        display(steps.HireLapsed(DealId("j1-x"), SECOND, Wei(3 * TOKEN)))
    assert output.getvalue().splitlines() == [
        f"{SECOND} can be hired for 2 tokens (locks 3, 3 of 4 paid)",
        f"{THIRD} is not hired: it has published no offer",
        f"{SECOND} did not agree in time: 3 tokens came back",
    ]


def test_what_stands_of_a_resumed_run_is_one_sentence():
    def said(number=None, deal_id=None, provider=None, state=None, locked=0):
        return sentence(steps.Resumed("0123456789ab", number, deal_id, provider, state, Wei(locked)), "tLP")

    assert said() == "Run 0123456789ab: nothing is posted yet"
    assert said(5) == "Run 0123456789ab: job j5 is posted, no deal is agreed yet"
    assert said(5, "j5-x") == "Run 0123456789ab: job j5 is posted, deal j5-x was being agreed"
    for state in AgreementState:
        told = said(5, "j5-x", FIRST, state, 2 * TOKEN)
        assert told.startswith(f"Run 0123456789ab: job j5 is posted, deal j5-x with {FIRST} is ")
        assert "2 tLP of yours" in told
