"""The rules of the market, written a second time in plain Python.

A deal here depends on nothing but its own calls and the clock. Where the contracts agree with this model
after every call, no call about another deal, and none that was refused, has changed what a deal owes. Each
method returns whether the call is allowed; one that is refused changes nothing.
"""

from dataclasses import dataclass, field

from tests.unit.contracts.market import Terms

FINAL_STATES = {3, 5, 6, 7, 8, 9, 10}


@dataclass(slots=True)
class ModelDeal:
    """How far one deal has come and what it has locked, in wei."""

    terms: Terms
    state: int = 0
    agreed_at: dict[bytes, int] = field(default_factory=dict)
    submitted_at: int = 0
    count: int = 0
    drawn_at: int = 0
    drawn: list[bytes] = field(default_factory=list)
    locked: int = 0

    @property
    def parties(self) -> tuple[bytes, bytes]:
        return self.terms.job_creator, self.terms.resource_provider

    @property
    def pay(self) -> int:
        return min(self.terms.price * self.count, self.terms.payment_collateral)

    @property
    def results_collateral(self) -> int:
        return self.terms.price * self.count * self.terms.multiple


@dataclass(slots=True)
class ModelMarket:
    """Every wallet and every deal."""

    now: int
    treasury: bytes
    wallets: dict[bytes, int]
    deals: dict[str, ModelDeal] = field(default_factory=dict)

    def _lock(self, deal: ModelDeal, payer: bytes, amount: int) -> bool:
        if self.wallets[payer] < amount:
            return False
        self.wallets[payer] -= amount
        deal.locked += amount
        return True

    def _settle(self, deal: ModelDeal, state: int, **shares: int) -> bool:
        """End the deal; the shares of jc, rp, mediator and treasury must be everything it has locked."""
        receivers = {"jc": deal.terms.job_creator, "rp": deal.terms.resource_provider}
        receivers["treasury"] = self.treasury
        if deal.drawn:
            receivers["mediator"] = deal.drawn[-1]
        for name, amount in shares.items():
            self.wallets[receivers[name]] += amount
        assert sum(shares.values()) == deal.locked
        deal.locked, deal.state = 0, state
        return True

    def agree(self, sender: bytes, terms: Terms) -> bool:
        deal = self.deals.get(terms.deal_id) or ModelDeal(terms)
        if deal.state != 0 or deal.terms != terms:
            return False
        if sender not in deal.parties or sender in deal.agreed_at:
            return False
        if deal.agreed_at and self.now > min(deal.agreed_at.values()) + terms.timeouts[0]:
            return False
        if sender == terms.resource_provider:
            amount = terms.submit_collateral
        else:
            amount = terms.payment_collateral + terms.judge_collateral
        if not self._lock(deal, sender, amount):
            return False
        deal.agreed_at[sender] = self.now
        deal.state = len(deal.agreed_at) - 1
        self.deals[terms.deal_id] = deal
        return True

    def add_result(self, sender: bytes, deal: ModelDeal, count: int) -> bool:
        late = self.now > max(deal.agreed_at.values()) + deal.terms.timeouts[1]
        if deal.state != 1 or sender != deal.terms.resource_provider or late or count >= 2**64:
            return False
        if not self._lock(deal, sender, deal.terms.price * count * deal.terms.multiple):
            return False
        deal.count, deal.submitted_at, deal.state = count, self.now, 2
        deal.locked -= deal.terms.submit_collateral
        self.wallets[sender] += deal.terms.submit_collateral
        return True

    def accept_result(self, sender: bytes, deal: ModelDeal) -> bool:
        terms = deal.terms
        if deal.state != 2 or sender != terms.job_creator:
            return False
        back = terms.payment_collateral - deal.pay
        return self._settle(deal, 3, rp=deal.pay + deal.results_collateral, jc=back + terms.judge_collateral)

    def check_result(self, sender: bytes, deal: ModelDeal) -> bool:
        terms = deal.terms
        late = self.now > deal.submitted_at + terms.timeouts[2]
        if deal.state != 2 or sender != terms.job_creator or late:
            return False
        if self.wallets[sender] + terms.judge_collateral < terms.fee:
            return False
        self.wallets[sender] += terms.judge_collateral - terms.fee
        deal.locked += terms.fee - terms.judge_collateral
        deal.state, deal.drawn_at = 4, self.now
        return True

    def rule(self, sender: bytes, deal: ModelDeal, *, accept: bool) -> bool:
        terms = deal.terms
        if deal.state != 4 or sender != deal.drawn[-1]:
            return False
        if not accept:
            return self._settle(
                deal, 6, jc=terms.payment_collateral, mediator=terms.fee, treasury=deal.results_collateral
            )
        return self._settle(
            deal,
            5,
            rp=deal.pay + deal.results_collateral,
            mediator=terms.fee,
            jc=terms.payment_collateral - deal.pay,
        )

    def timeout_agree(self, sender: bytes, deal: ModelDeal) -> bool:
        late = self.now > min(deal.agreed_at.values()) + deal.terms.timeouts[0]
        if deal.state != 0 or sender not in deal.parties or not late:
            return False
        (agreed,) = deal.agreed_at
        return self._settle(
            deal, 7, **{"rp" if agreed == deal.terms.resource_provider else "jc": deal.locked}
        )

    def timeout_submit_result(self, sender: bytes, deal: ModelDeal) -> bool:
        late = self.now > max(deal.agreed_at.values()) + deal.terms.timeouts[1]
        if deal.state != 1 or sender not in deal.parties or not late:
            return False
        return self._settle(deal, 8, jc=deal.locked)

    def timeout_judge_result(self, sender: bytes, deal: ModelDeal) -> bool:
        terms = deal.terms
        late = self.now > deal.submitted_at + terms.timeouts[2]
        if deal.state != 2 or sender not in deal.parties or not late:
            return False
        paid = deal.pay + terms.judge_collateral + deal.results_collateral
        return self._settle(deal, 9, rp=paid, jc=terms.payment_collateral - deal.pay)

    def timeout_mediate_result(self, sender: bytes, deal: ModelDeal) -> bool:
        terms = deal.terms
        late = self.now > deal.drawn_at + terms.timeouts[3]
        if deal.state != 4 or sender not in deal.parties or not late:
            return False
        if len(deal.drawn) < len(terms.mediators):
            deal.drawn_at = self.now
            return True
        back = terms.payment_collateral - deal.pay + terms.fee
        return self._settle(deal, 10, rp=deal.pay + deal.results_collateral, jc=back)
