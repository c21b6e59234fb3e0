# pragma version 0.4.3
"""
@title Terms
@notice What the two sides of a deal agree to: bounded on the way in, written once, compared with what the second
        side sends. Owns the terms of every deal and nothing else.
@dev Terms are packed, because writing them is most of what a deal costs.
"""

import deal


# Amounts are 128 bits, seconds 64 bits, the high half first. The collaterals of agree and mediateResults have
# no place because they are always 0.
struct Terms:
    solver: address
    jobCreator: address
    resourceProvider: address
    mediators: DynArray[address, deal.MAX_MEDIATORS]
    timeouts: uint256
    submit_and_judge_collateral: uint256
    price_and_payment_collateral: uint256
    multiple_and_fee: uint256


_terms: HashMap[bytes32, Terms]


@internal
@pure
def _high(word: uint256) -> uint256:
    return word >> 128


@internal
@pure
def _low(word: uint256) -> uint256:
    return word & deal.MAX_AMOUNT


@internal
@pure
def _pack(high: uint256, low: uint256) -> uint256:
    return (high << 128) | low


@internal
@pure
def _pack_timeouts(timeouts: deal.DealTimeouts) -> uint256:
    return (
        (timeouts.agree.timeout << 192)
        | (timeouts.submitResults.timeout << 128)
        | (timeouts.judgeResults.timeout << 64)
        | timeouts.mediateResults.timeout
    )


@internal
@view
def _exists(key: bytes32) -> bool:
    return self._terms[key].solver != empty(address)


@internal
@view
def _price(key: bytes32) -> uint256:
    return self._high(self._terms[key].price_and_payment_collateral)


@internal
@view
def _multiple(key: bytes32) -> uint256:
    return self._high(self._terms[key].multiple_and_fee)


@internal
@view
def _deal(key: bytes32, dealId: String[64]) -> deal.Deal:
    found: deal.Deal = empty(deal.Deal)
    solver: address = self._terms[key].solver
    if solver == empty(address):
        return found
    found.dealId = dealId
    found.members = deal.DealMembers(
        solver=solver,
        jobCreator=self._terms[key].jobCreator,
        resourceProvider=self._terms[key].resourceProvider,
        mediators=self._terms[key].mediators,
    )
    seconds: uint256 = self._terms[key].timeouts
    collaterals: uint256 = self._terms[key].submit_and_judge_collateral
    found.timeouts = deal.DealTimeouts(
        agree=deal.DealTimeout(timeout=seconds >> 192, collateral=0),
        submitResults=deal.DealTimeout(
            timeout=(seconds >> 128) & deal.MAX_COUNT, collateral=self._high(collaterals)
        ),
        judgeResults=deal.DealTimeout(
            timeout=(seconds >> 64) & deal.MAX_COUNT, collateral=self._low(collaterals)
        ),
        mediateResults=deal.DealTimeout(timeout=seconds & deal.MAX_COUNT, collateral=0),
    )
    prices: uint256 = self._terms[key].price_and_payment_collateral
    checks: uint256 = self._terms[key].multiple_and_fee
    found.pricing = deal.DealPricing(
        instructionPrice=self._high(prices),
        paymentCollateral=self._low(prices),
        resultsCollateralMultiple=self._high(checks),
        mediationFee=self._low(checks),
    )
    return found


@internal
@pure
def _check_members(members: deal.DealMembers):
    assert members.resourceProvider != empty(address), "RP missing"
    assert members.jobCreator != empty(address), "JC missing"
    assert members.solver != empty(address), "Solver missing"
    assert len(members.mediators) > 0, "Mediators <= 0"
    assert members.resourceProvider != members.jobCreator, "RP / JC same"
    position: uint256 = 0
    for mediator: address in members.mediators:
        assert mediator != empty(address), "Mediator missing"
        assert mediator != members.resourceProvider, "Mediator is RP"
        assert mediator != members.jobCreator, "Mediator is JC"
        for i: uint256 in range(position, bound=deal.MAX_MEDIATORS):
            assert members.mediators[i] != mediator, "Mediator twice"
        position = unsafe_add(position, 1)


@internal
@pure
def _check_numbers(timeouts: deal.DealTimeouts, pricing: deal.DealPricing):
    assert timeouts.agree.collateral == 0, "Agree deposit must be 0"
    assert timeouts.mediateResults.collateral == 0, "Mediate deposit must be 0"
    assert (
        max(
            max(timeouts.agree.timeout, timeouts.submitResults.timeout),
            max(timeouts.judgeResults.timeout, timeouts.mediateResults.timeout),
        )
        <= deal.MAX_TIMEOUT
    ), "Timeout too long"
    assert (
        max(
            max(timeouts.submitResults.collateral, timeouts.judgeResults.collateral),
            max(max(pricing.instructionPrice, pricing.paymentCollateral), pricing.mediationFee),
        )
        <= deal.MAX_AMOUNT
    ), "Amount too large"
    assert pricing.resultsCollateralMultiple <= deal.MAX_COUNT, "Multiple too large"


@internal
def _write(
    key: bytes32,
    members: deal.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
):
    self._terms[key].solver = members.solver
    self._terms[key].jobCreator = members.jobCreator
    self._terms[key].resourceProvider = members.resourceProvider
    self._terms[key].mediators = members.mediators
    self._terms[key].timeouts = self._pack_timeouts(timeouts)
    self._terms[key].submit_and_judge_collateral = self._pack(
        timeouts.submitResults.collateral, timeouts.judgeResults.collateral
    )
    self._terms[key].price_and_payment_collateral = self._pack(
        pricing.instructionPrice, pricing.paymentCollateral
    )
    self._terms[key].multiple_and_fee = self._pack(
        pricing.resultsCollateralMultiple, pricing.mediationFee
    )


@internal
@view
def _check_same(
    key: bytes32,
    members: deal.DealMembers,
    timeouts: deal.DealTimeouts,
    pricing: deal.DealPricing,
):
    assert self._terms[key].resourceProvider == members.resourceProvider, "RP"
    assert self._terms[key].jobCreator == members.jobCreator, "JC"
    assert self._terms[key].solver == members.solver, "Solver"
    assert len(self._terms[key].mediators) == len(members.mediators), "Mediators"
    position: uint256 = 0
    for mediator: address in members.mediators:
        assert self._terms[key].mediators[position] == mediator, "Mediator"
        position = unsafe_add(position, 1)
    assert self._terms[key].timeouts == self._pack_timeouts(timeouts), "Timeout"
    assert (
        self._terms[key].submit_and_judge_collateral
        == self._pack(timeouts.submitResults.collateral, timeouts.judgeResults.collateral)
    ), "Collateral"
    prices: uint256 = self._terms[key].price_and_payment_collateral
    assert self._high(prices) == pricing.instructionPrice, "Price"
    assert self._low(prices) == pricing.paymentCollateral, "Payment"
    checks: uint256 = self._terms[key].multiple_and_fee
    assert self._high(checks) == pricing.resultsCollateralMultiple, "Results"
    assert self._low(checks) == pricing.mediationFee, "Mediation"
