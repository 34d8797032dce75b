"""/api/keys: make, list and revoke keys, for operators."""

from dataclasses import dataclass

from fastapi import APIRouter
from pydantic import Field

from agent.documents import KeyDocument, KeyList, KeyMade, KeyRevoked
from agent.messages import Wire
from agent.routes import Caller, Cursor, Limit, errors
from core.errors import BadRequest
from core.keys import Keys
from core.types import Role


class KeyRequest(Wire):
    """A key to make."""

    name: str = Field(max_length=64, description="Whose key it is.")
    role: str = Field(max_length=16, description="user, reviewer or ops.")


@dataclass(frozen=True, slots=True)
class KeyRoutes:
    """The three routes."""

    keys: Keys

    def router(self) -> APIRouter:
        router = APIRouter(tags=["keys"])
        add = router.add_api_route
        add("/api/keys", self.list, methods=["GET"], responses=errors())
        add("/api/keys", self.create, methods=["POST"], status_code=201, responses=errors())
        add("/api/keys/{key_id}", self.revoke, methods=["DELETE"], responses=errors(404))
        return router

    def list(self, limit: Limit = 100, cursor: Cursor = None) -> KeyList:
        """All keys, oldest first, revoked ones included; none can be read back."""
        found = self.keys.list()
        start = 1 + next((at for at, key in enumerate(found) if key.id == cursor), -1 if cursor is None else len(found))
        page = found[start : start + limit]
        more = start + limit < len(found)
        return KeyList(data=[KeyDocument.model_validate(key) for key in page], next=page[-1].id if more else None)

    def create(self, request: KeyRequest, caller: Caller) -> KeyMade:
        """A new key. It is shown this once."""
        if request.role not in list(Role):
            raise BadRequest(f"A role is one of {', '.join(Role)}.", param="role", code="unknown_role")
        holder, key = self.keys.create(request.name, Role(request.role), caller.id)
        made = next(info for info in self.keys.list() if info.id == holder.id)
        return KeyMade(id=made.id, name=made.name, role=made.role, key=key, created_at=made.created_at)

    def revoke(self, key_id: str, caller: Caller) -> KeyRevoked:
        """End a key for good, within five seconds everywhere; once more changes nothing."""
        self.keys.revoke(key_id, caller.id)
        return KeyRevoked(id=key_id)
