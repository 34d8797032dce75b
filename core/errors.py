"""Every error that Hone raises on purpose.

HoneError
|-- BadRequest            400  the request is wrong and says where
|   `-- ContextTooLong    400  prompt and answer do not fit the model
|-- Unauthenticated       401  no key, or not one of ours
|-- Forbidden             403  the key's role may not do this
|-- NotFound              404
|-- MethodNotAllowed      405
|-- Conflict              409  the state moved on, or an idempotency key was reused
|   `-- LeaseLost              another process took over; the loser stops writing
|-- TooLarge              413
|-- TooMany               429  a limit; carries retry_after
|-- Unavailable           503  try again; carries retry_after
|   |-- EngineUnavailable      the model server does not answer
|   `-- NotStored              neither the ledger nor the spool could take the row
|-- EngineFailed          502  the engine broke the answer off
|-- DeadlineExceeded      504
`-- SetupError                 a person must change something before Hone can start
    `-- ConfigError            a setting is unknown or out of range
"""

from typing import ClassVar


class HoneError(Exception):
    """An expected failure; `message` tells cause and next step, the rest is its shape on the wire."""

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or self.default_code
        self.retry_after = retry_after


class BadRequest(HoneError):
    status, type = 400, "invalid_request_error"


class ContextTooLong(BadRequest):
    default_code = "context_length_exceeded"


class Unauthenticated(HoneError):
    status, type, default_code = 401, "invalid_request_error", "invalid_api_key"


class Forbidden(HoneError):
    status, type, default_code = 403, "permission_error", "forbidden"


class NotFound(HoneError):
    status, type, default_code = 404, "invalid_request_error", "not_found"


class MethodNotAllowed(HoneError):
    status, type, default_code = 405, "invalid_request_error", "method_not_allowed"


class Conflict(HoneError):
    status, type, default_code = 409, "invalid_request_error", "conflict"


class LeaseLost(Conflict):
    default_code = "lease_lost"


class TooLarge(HoneError):
    status, type, default_code = 413, "invalid_request_error", "request_too_large"


class TooMany(HoneError):
    status, type, default_code = 429, "rate_limit_error", "rate_limit_exceeded"


class Unavailable(HoneError):
    status, type, default_code = 503, "server_error", "unavailable"


class EngineUnavailable(Unavailable):
    default_code = "engine_unavailable"


class NotStored(Unavailable):
    default_code = "not_stored"


class EngineFailed(HoneError):
    status, default_code = 502, "engine_failed"


class DeadlineExceeded(HoneError):
    status, default_code = 504, "deadline_exceeded"


class SetupError(HoneError):
    """Ends a command with exit code 1 and this message."""


class ConfigError(SetupError):
    """Names the setting, what is wrong with it and the nearest known one."""


_BY_STATUS = {kind.status: kind for kind in HoneError.__subclasses__() if kind is not SetupError}


def of_status(status: int) -> type[HoneError]:
    """The class that an HTTP status stands for; the root of the tree for one that none has."""
    return _BY_STATUS.get(status, HoneError)
