"""Waiting out an endpoint that does not answer: the same question again, less and less often, to a limit."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
)

from node.clock import Clock
from node.errors import Retryable
from node.requester.steps import OnStep, Waiting, printable

T = TypeVar("T")


class Patience:
    """Repeats what is safe to repeat. After ``attempts`` the last error goes to the caller."""

    def __init__(
        self, clock: Clock, on_step: OnStep, *, attempts: int = 10, longest_pause_s: float = 30.0
    ) -> None:
        self._clock = clock
        self._on_step = on_step
        self._attempts = attempts
        self._longest_pause_s = longest_pause_s

    async def ask(self, action: Callable[[], Awaitable[T]]) -> T:
        """Return what ``action`` returns; errors that are not Retryable pass at once."""

        def tell(state: RetryCallState) -> None:
            error = state.outcome.exception() if state.outcome is not None else None
            self._on_step(Waiting(printable(str(error))))

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Retryable),
            stop=stop_after_attempt(self._attempts),
            wait=wait_exponential(multiplier=0.5, max=self._longest_pause_s),
            before_sleep=tell,
            sleep=self._clock.sleep,
            reraise=True,
        )

        async def once() -> T:  # tenacity awaits only what it can see to be a coroutine function
            return await action()

        return await retrying(once)
