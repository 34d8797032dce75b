"""API keys: 256 random bits, shown once, kept as a keyed digest, each with one role.

Knows nothing of routes; who may call `create` is decided there. A key made with the authority of the data folder alone
is made by LOCAL. A key made by another one counts as its maker for a day, so that nobody is two persons at once.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, select, update

from core.audit import append
from core.clock import HOUR, Clock, now
from core.errors import BadRequest, Forbidden, NotFound
from core.ids import new_id
from core.schema import keys
from core.secret import Secret
from core.store import Store
from core.types import Principal, Role

LOCAL = "local"
"""The maker of keys that were created with file permission on the data folder instead of a key."""

PROBATION = 24 * HOUR
NAME_LENGTH = 64
_SHAPE = re.compile(rf"hone_({'|'.join(Role)})_[A-Za-z0-9_-]{{43}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What may be shown of a key; `created_by` is the principal that its maker counted as, or LOCAL."""

    id: str
    name: str
    role: Role
    created_at: int
    created_by: str
    revoked_at: int | None


class Keys:
    """Makes, recognises and revokes keys; each change is in the audit log."""

    def __init__(self, store: Store, secret: Secret, clock: Clock = now) -> None:
        self._store = store
        self._secret = secret
        self._clock = clock

    def create(self, name: str, role: Role, by: str) -> tuple[Principal, str]:
        """A new key and its plaintext, which nothing can show again. `by` is the maker's key id, or LOCAL.

        Raises BadRequest for a name that is not 1 to 64 printable characters, NotFound for an unknown maker, Forbidden
        for a revoked one and for a role above the maker's own.
        """
        _check_name(name)
        plaintext = f"hone_{role}_{secrets.token_urlsafe(32)}"
        key_id, at = new_id(), self._clock()
        with self._store.write() as conn:
            maker = self._actor(conn, by, role)
            conn.execute(
                keys.insert().values(
                    id=key_id,
                    created_at=at,
                    name=name,
                    role=role,
                    digest=self._digest(plaintext),
                    created_by=maker,
                    revoked_at=None,
                )
            )
            append(conn, maker, "key.create", key_id, {"role": role}, at=at)
        root = key_id if maker == LOCAL else maker
        return Principal(key_id, name, role, root), plaintext

    def authenticate(self, plaintext: str) -> Principal | None:
        """The holder of a key; None when it is not one of ours or revoked."""
        if not _SHAPE.fullmatch(plaintext):
            return None
        # The index compares digests whose secret the caller lacks, so how long it takes tells nothing about any key;
        # a comparison in constant time would protect nothing here.
        with self._store.read() as conn:
            row = conn.execute(select(keys).where(keys.c.digest == self._digest(plaintext))).one_or_none()
        return None if row is None or row.revoked_at is not None else self._principal(row)

    def list(self) -> Sequence[KeyInfo]:
        """All keys, revoked ones included, oldest first."""
        with self._store.read() as conn:
            rows = conn.execute(select(keys).order_by(keys.c.created_at, keys.c.id)).all()
        return [KeyInfo(r.id, r.name, Role(r.role), r.created_at, r.created_by, r.revoked_at) for r in rows]

    def revoke(self, key_id: str, by: str) -> None:
        """End a key for good; once more does nothing. `by` is the revoker's key id, or LOCAL.

        Raises NotFound for an unknown key or revoker, Forbidden for a revoked revoker.
        """
        at = self._clock()
        with self._store.write() as conn:
            actor = self._actor(conn, by)
            live = keys.c.id == key_id, keys.c.revoked_at.is_(None)
            if conn.execute(update(keys).where(*live).values(revoked_at=at)).rowcount == 1:
                append(conn, actor, "key.revoke", key_id, {}, at=at)
            else:
                _find(conn, key_id)

    def _actor(self, conn: Connection, by: str, role: Role | None = None) -> str:
        """The principal that answers for what the key `by` does, which is to hand out `role` if one is given."""
        if by == LOCAL:
            return LOCAL
        row = _find(conn, by)
        if row.revoked_at is not None:
            raise Forbidden(f"The key {by} is revoked and can neither make nor revoke others.")
        if role and not Role(row.role).includes(role):
            raise Forbidden(f"A key of role {row.role} cannot make one of role {role}.", param="role")
        return self._root(row)

    def _principal(self, row: Row[tuple[object, ...]]) -> Principal:
        return Principal(row.id, row.name, Role(row.role), self._root(row))

    def _root(self, row: Row[tuple[object, ...]]) -> str:
        young = self._clock() - row.created_at < PROBATION
        return str(row.created_by if young and row.created_by != LOCAL else row.id)

    def _digest(self, plaintext: str) -> str:
        return self._secret.digest("api-key", plaintext)


def _find(conn: Connection, key_id: str) -> Row[tuple[object, ...]]:
    # Locked on PostgreSQL until the commit, so that no revocation slips in between.
    row = conn.execute(select(keys).where(keys.c.id == key_id).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(f"There is no key {key_id[:64]!r}; `hone keys list` shows them.")
    return row


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= NAME_LENGTH or not name.isprintable() or not name.strip():
        raise BadRequest(f"A key's name is 1 to {NAME_LENGTH} printable characters, not only spaces.", param="name")
