# pragma version 0.4.3
"""
@title Deal
@notice The words every market contract shares: the shape of a deal, its states, its kinds of payment, and the
        bounds on what a stranger may put into it. Owns no storage and no function.
"""

MAX_MEDIATORS: constant(uint256) = 10

# No party can be locked up for longer than a year by one step of a deal.
MAX_TIMEOUT: constant(uint256) = 365 * 86400

# Price * count * multiple stays below 2**(128 + 64 + 64), so the cost of a job and its collateral can never
# overflow, whatever numbers the parties choose.
MAX_AMOUNT: constant(uint256) = 2**128 - 1
MAX_COUNT: constant(uint256) = 2**64 - 1

# AgreementState
NEGOTIATING: constant(uint8) = 0
AGREED: constant(uint8) = 1
RESULTS_SUBMITTED: constant(uint8) = 2
RESULTS_ACCEPTED: constant(uint8) = 3
RESULTS_CHECKED: constant(uint8) = 4
MEDIATION_ACCEPTED: constant(uint8) = 5
MEDIATION_REJECTED: constant(uint8) = 6
TIMEOUT_AGREE: constant(uint8) = 7
TIMEOUT_SUBMIT_RESULTS: constant(uint8) = 8
TIMEOUT_JUDGE_RESULTS: constant(uint8) = 9
TIMEOUT_MEDIATE_RESULTS: constant(uint8) = 10

# PaymentReason
PAYMENT_COLLATERAL: constant(uint8) = 0
RESULTS_COLLATERAL: constant(uint8) = 1
TIMEOUT_COLLATERAL: constant(uint8) = 2
JOB_PAYMENT: constant(uint8) = 3
MEDIATION_FEE: constant(uint8) = 4

# PaymentDirection
PAID_IN: constant(uint8) = 0
PAID_OUT: constant(uint8) = 1
REFUNDED: constant(uint8) = 2
SLASHED: constant(uint8) = 3


struct DealMembers:
    solver: address
    jobCreator: address
    resourceProvider: address
    mediators: DynArray[address, MAX_MEDIATORS]


# Seconds, and the token amount that answers for the deadline.
struct DealTimeout:
    timeout: uint256
    collateral: uint256


struct DealTimeouts:
    agree: DealTimeout
    submitResults: DealTimeout
    judgeResults: DealTimeout
    mediateResults: DealTimeout


struct DealPricing:
    instructionPrice: uint256
    paymentCollateral: uint256
    resultsCollateralMultiple: uint256
    mediationFee: uint256


struct Deal:
    dealId: String[64]
    members: DealMembers
    timeouts: DealTimeouts
    pricing: DealPricing


struct Result:
    dealId: String[64]
    resultsId: String[128]
    dataId: String[128]
    instructionCount: uint256


# Block timestamps; 0 means that it never happened.
struct Agreement:
    state: uint8
    resourceProviderAgreedAt: uint256
    jobCreatorAgreedAt: uint256
    dealCreatedAt: uint256
    dealAgreedAt: uint256
    resultsSubmittedAt: uint256
    resultsAcceptedAt: uint256
    resultsCheckedAt: uint256
    mediationAcceptedAt: uint256
    mediationRejectedAt: uint256
    timeoutAgreeAt: uint256
    timeoutSubmitResultsAt: uint256
    timeoutJudgeResultsAt: uint256
    timeoutMediateResultsAt: uint256
