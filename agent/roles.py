"""The one table of who may call what, and the guard that holds every route to it.

Default deny: a route without an entry, or an entry without a route, stops the start. The guard sits inside the matched
route and never looks at the request's address.
"""

from collections.abc import Mapping, Sequence

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.authenticate import Authenticator
from agent.visit import visit_of
from core.errors import Forbidden, SetupError
from core.types import Role

PUBLIC = None
Policy = Mapping[tuple[str, str], Role | None]

POLICY: Policy = {
    ("GET", "/healthz"): PUBLIC,
    ("GET", "/readyz"): PUBLIC,
    ("POST", "/v1/chat/completions"): Role.USER,
    ("POST", "/v1/completions"): Role.USER,
    ("GET", "/v1/models"): Role.USER,
    ("GET", "/v1/models/{model}"): Role.USER,
    ("POST", "/v1/feedback"): Role.USER,
    ("GET", "/v1/feedback"): Role.USER,
    ("DELETE", "/v1/feedback/{feedback_id}"): Role.USER,
    ("GET", "/api/interactions"): Role.REVIEWER,
    ("GET", "/api/interactions/{interaction_id}"): Role.REVIEWER,
    ("GET", "/api/review/next"): Role.REVIEWER,
    ("POST", "/api/review/{pair_id}"): Role.REVIEWER,
    ("GET", "/api/status"): Role.OPS,
    ("GET", "/api/models"): Role.OPS,
    ("GET", "/api/models/{version}"): Role.OPS,
    ("POST", "/api/models/{version}/approve"): Role.OPS,
    ("POST", "/api/models/{version}/reject"): Role.OPS,
    ("POST", "/api/rollback"): Role.OPS,
    ("GET", "/api/runs"): Role.OPS,
    ("POST", "/api/runs"): Role.OPS,
    ("GET", "/api/runs/{run_id}"): Role.OPS,
    ("POST", "/api/runs/{run_id}/cancel"): Role.OPS,
    ("GET", "/api/experiments"): Role.OPS,
    ("GET", "/api/experiments/{experiment_id}"): Role.OPS,
    ("POST", "/api/experiments/{experiment_id}/stop"): Role.OPS,
    ("GET", "/api/checks"): Role.OPS,
    ("POST", "/api/checks/acknowledge"): Role.OPS,
    ("GET", "/api/reports"): Role.OPS,
    ("GET", "/api/reports/{kind}/{version}"): Role.OPS,
    ("DELETE", "/api/subjects/{subject}"): Role.OPS,
    ("GET", "/api/keys"): Role.OPS,
    ("POST", "/api/keys"): Role.OPS,
    ("DELETE", "/api/keys/{key_id}"): Role.OPS,
    ("GET", "/api/audit"): Role.OPS,
    ("GET", "/metrics"): Role.OPS,
    ("GET", "/openapi.json"): Role.OPS,
}


class Guard:
    """A route's application behind the check of the caller's role."""

    def __init__(
        self, app: ASGIApp, path: str, needed: Mapping[str, Role | None], authenticator: Authenticator
    ) -> None:
        self._app = app
        self._path = path
        self._needed = needed
        self._allowed = {method: role and _from(role) for method, role in needed.items()}
        self._authenticator = authenticator

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = visit_of(scope)
        visit.route = self._path
        allowed = self._allowed[scope["method"]]
        if allowed is not None:
            address = scope["client"][0] if scope.get("client") else ""
            visit.principal = principal = await self._authenticator.principal(visit.authorization, address)
            if principal.role not in allowed:
                needed = self._needed[scope["method"]]
                raise Forbidden(f"This needs a key of role {needed}; this one is of role {principal.role}.")
        await self._app(scope, receive, send)


def enforce(routes: Sequence[BaseRoute], policy: Policy, authenticator: Authenticator) -> None:
    """Put the guard into every route. Raises SetupError for a route without a policy and a policy without a route."""
    left = set(policy)
    for route in routes:
        if not isinstance(route, Route) or not route.methods:
            raise SetupError(f"The route {getattr(route, 'path', route)} cannot be held to the table of roles.")
        entries = {(method, route.path) for method in route.methods}
        if missing := entries - policy.keys():
            raise SetupError(f"These routes have no entry in the table of roles: {_listed(missing)}.")
        if isinstance(route.app, Guard):
            raise SetupError(f"The route {route.path} is guarded twice.")
        needed = {method: policy[method, path] for method, path in entries}
        route.app = Guard(route.app, route.path, needed, authenticator)
        left -= entries
    if left:
        raise SetupError(f"The table of roles names routes that do not exist: {_listed(left)}.")


def _from(role: Role) -> frozenset[Role]:
    return frozenset(other for other in Role if other.includes(role))


def _listed(entries: set[tuple[str, str]]) -> str:
    return ", ".join(f"{method} {path}" for method, path in sorted(entries))
