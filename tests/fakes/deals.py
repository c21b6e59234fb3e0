"""One deal on a chain that a test sets: its stored terms, its state, its result, and the chain's time."""

from node.chain.client import Block, Call
from node.chain.txmanager import Failed, Mined
from node.job.deal import Agreement, AgreementState, Result
from node.job.transactions import TxRow, TxStatus
from tests.fakes.jobs import CONTROLLER, POSTED_AT

TX = "0x" + "5a" * 32


class Deals:
    """Meets what proposals, submissions and claims read and call."""

    def __init__(self, *, deal=None, agreement=None, result=None, chain_time=POSTED_AT):
        self.deal = deal
        self.agreement = agreement or Agreement(AgreementState.DEAL_NEGOTIATING)
        self.result = result
        self.chain_time = chain_time

    async def get_deal(self, deal_id, at=None):
        return self.deal

    async def get_agreement(self, deal_id, at=None):
        return self.agreement

    async def get_result(self, deal_id, at=None) -> Result | None:
        return self.result

    async def head(self):
        return Block(10, "0x" + "10" * 32, self.chain_time)

    def agree(self, deal):
        return Call(CONTROLLER, b"agree", f"agree {deal.deal_id}")

    def add_result(self, deal_id, results_id, data_id, instruction_count):
        return Call(CONTROLLER, f"{data_id}/{instruction_count}".encode(), "addResult")

    def timeout_agree(self, deal_id):
        return Call(CONTROLLER, b"timeoutAgree", "timeoutAgree")

    def timeout_judge_result(self, deal_id):
        return Call(CONTROLLER, b"timeoutJudgeResult", "timeoutJudgeResult")

    def timeout_mediate_result(self, deal_id):
        return Call(CONTROLLER, b"timeoutMediateResult", "timeoutMediateResult")


class Wallet:
    """Meets the TxManager: every call is mined, or refused or reverted with a reason that a test sets.

    ``sent`` are the intents that were new; a settled one gives its recorded outcome again.
    """

    def __init__(self, refusal=None, reverted=False):
        self.refusal = refusal
        self.reverted = reverted
        self.sent = []
        self.outcomes = {}
        self.rows = {}

    async def send(self, intent):
        name, call = intent.intent_id, intent.call
        if name in self.outcomes:
            return self.outcomes[name]
        self.sent.append(intent)
        if self.refusal is not None and not self.reverted:
            return Failed(name, self.refusal, None)
        outcome, status = Mined(name, TX, 5, 21_000, 10**12), TxStatus.MINED
        if self.refusal is not None:
            outcome, status = Failed(name, self.refusal, TX), TxStatus.REVERTED
        self.outcomes[name] = outcome
        self.rows[name] = TxRow(name, call.what, call.to, call.data, 0, len(self.rows), status)
        return outcome

    async def row(self, intent_id):
        return self.rows.get(intent_id)
