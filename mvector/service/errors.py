"""What is wrong with a request, and not with the clips in it."""

from __future__ import annotations

from mvector.errors import MVectorError


class RequestError(MVectorError):
    """A request that is refused, with its HTTP status.

    Attributes:
        status: the HTTP status.
        retry_after_s: after how many seconds it is worth another try, if that is known.
    """

    code = "request"

    def __init__(
        self,
        *args: object,
        code: str | None = None,
        status: int = 400,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(*args, code=code)
        self.status, self.retry_after_s = status, retry_after_s


def overloaded(retry_after_s: float = 1.0) -> RequestError:
    """Too much is under way, or in memory."""
    return RequestError(
        "The service is overloaded; try again in a moment.",
        code="overloaded",
        status=503,
        retry_after_s=retry_after_s,
    )
