"""One HTTP request as the edge sees it: who asked, under which id, by which route, since when."""

from dataclasses import dataclass, field

from starlette.types import Scope

from core.errors import Unauthenticated
from core.types import Arm, Principal

KEY = "hone.visit"
Header = tuple[bytes, bytes]


@dataclass(slots=True)
class Visit:
    """Made by the edge, completed by the steps behind it; `started` is `time.perf_counter()`."""

    request_id: str
    started: float
    authorization: bytes | None = None
    route: str = "unmatched"
    status: int = 0
    arm: Arm | None = None
    principal: Principal | None = None
    extra: list[Header] = field(default_factory=list)
    """Headers that the answer gets besides its own."""

    def caller(self) -> Principal:
        """Who asked; raises Unauthenticated on a route that asks nobody."""
        if self.principal is None:
            raise Unauthenticated("This route needs a key: send `Authorization: Bearer <key>`.")
        return self.principal


def visit_of(scope: Scope) -> Visit:
    """The visit that the edge put into an ASGI scope."""
    visit: Visit = scope[KEY]
    return visit
