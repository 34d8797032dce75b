"""Keys: shown once, worthless in any other form, and never a way to be two persons."""

import re
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from core import audit
from core.clock import HOUR
from core.errors import BadRequest, Forbidden, NotFound
from core.keys import LOCAL, Keys
from core.schema import keys as table
from core.schema import metadata
from core.secret import Secret
from core.store import Store
from core.types import Principal, Role

MADE_AT = 1_790_000_000_000_000


class Desk:
    """Keys with a clock that is set by hand."""

    def __init__(self, store: Store, secret: Secret) -> None:
        self.store, self.secret, self.time = store, secret, MADE_AT
        self.keys = Keys(store, secret, clock=lambda: self.time)

    def make(self, role: Role = Role.OPS, by: str = LOCAL) -> tuple[Principal, str]:
        return self.keys.create(f"a {role} key", role, by)

    def root(self, plaintext: str, hours_later: float = 0) -> str:
        """The principal that a key counts as some hours from now."""
        self.time += round(hours_later * HOUR)
        principal = self.keys.authenticate(plaintext)
        assert principal is not None
        return principal.root

    def trail(self) -> list[tuple[str, str, str]]:
        with self.store.read() as conn:
            return [(row.actor, row.action, row.target) for row in audit.page(conn).items]

    def dump(self) -> Iterator[str]:
        with self.store.read() as conn:
            for each in metadata.sorted_tables:
                yield from (repr(tuple(row)) for row in conn.execute(select(each)))


@pytest.fixture
def desk(store: Store, secret: Secret) -> Desk:
    return Desk(store, secret)


@pytest.mark.parametrize("role", Role)
def test_a_key_opens_what_it_was_made_for(desk: Desk, role: Role) -> None:
    principal, plaintext = desk.make(role)
    assert re.fullmatch(rf"hone_{role}_[A-Za-z0-9_-]{{43}}", plaintext)
    assert desk.keys.authenticate(plaintext) == principal
    assert (principal.role, principal.name, principal.root) == (role, f"a {role} key", principal.id)


def test_the_database_never_holds_a_key(desk: Desk) -> None:
    made = [desk.make(role) for role in Role for _ in range(3)]
    rows = list(desk.dump())
    for principal, plaintext in made:
        assert any(principal.id in row for row in rows)
        assert not any(plaintext in row or plaintext.split("_", 2)[2] in row for row in rows)


def test_what_the_database_holds_opens_nothing(desk: Desk) -> None:
    _, plaintext = desk.make(Role.OPS)
    with desk.store.read() as conn:
        stored = conn.execute(select(table)).mappings().one()
    for value in stored.values():
        for attempt in (str(value), f"hone_ops_{value}", f"hone_ops_{str(value)[:43]}"):
            assert desk.keys.authenticate(attempt) is None
    assert desk.keys.authenticate(plaintext)


def test_a_key_of_another_install_opens_nothing(desk: Desk) -> None:
    _, plaintext = desk.make()
    assert Keys(desk.store, Secret.of(b"another install's secret bytes!!")).authenticate(plaintext) is None


def test_a_changed_role_in_the_text_makes_it_another_key(desk: Desk) -> None:
    _, plaintext = desk.make(Role.USER)
    assert desk.keys.authenticate(plaintext.replace("user", "ops")) is None


def test_junk_opens_nothing(desk: Desk) -> None:
    _, plaintext = desk.make()
    junk = ["", "hone_ops_", "hone_root_" + "a" * 43, "' OR 1=1 --", "hone_ops_" + "\u00e4" * 43, "x" * 100_000, "\x00"]
    near = [plaintext[:-1], plaintext + "a", plaintext + "\n", " " + plaintext, plaintext.upper()]
    assert [text for text in junk + near if desk.keys.authenticate(text)] == []


def test_a_revoked_key_opens_nothing_from_then_on(desk: Desk) -> None:
    principal, plaintext = desk.make()
    other, still = desk.make()
    desk.keys.revoke(principal.id, LOCAL)
    assert desk.keys.authenticate(plaintext) is None
    assert desk.keys.authenticate(still) == other


def test_revoking_twice_keeps_the_first_time_and_writes_one_row(desk: Desk) -> None:
    principal, _ = desk.make()
    desk.keys.revoke(principal.id, LOCAL)
    desk.time += HOUR
    desk.keys.revoke(principal.id, LOCAL)
    assert [info.revoked_at for info in desk.keys.list()] == [MADE_AT]
    assert [action for _, action, _ in desk.trail()] == ["key.create", "key.revoke"]


def test_an_unknown_key_cannot_be_revoked_and_cannot_make_or_revoke_others(desk: Desk) -> None:
    principal, _ = desk.make()
    for act in (
        lambda: desk.keys.revoke("nobody", LOCAL),
        lambda: desk.keys.revoke(principal.id, "nobody"),
        lambda: desk.make(by="nobody"),
    ):
        with pytest.raises(NotFound, match="There is no key 'nobody'"):
            act()
    assert len(desk.keys.list()) == 1 and len(desk.trail()) == 1


def test_every_change_names_its_actor_in_an_unbroken_chain(desk: Desk) -> None:
    ops, _ = desk.make()
    user, _ = desk.make(Role.USER, by=ops.id)
    desk.keys.revoke(user.id, ops.id)
    assert desk.trail() == [
        (LOCAL, "key.create", ops.id),
        (ops.id, "key.create", user.id),
        (ops.id, "key.revoke", user.id),
    ]
    assert audit.verify(desk.store).ok


def test_the_list_shows_who_made_what_and_no_digest(desk: Desk) -> None:
    ops, _ = desk.make()
    desk.time += 1
    user, _ = desk.make(Role.USER, by=ops.id)
    first, second = desk.keys.list()
    assert (first.id, first.role, first.created_by, first.created_at) == (ops.id, Role.OPS, LOCAL, MADE_AT)
    assert (second.id, second.role, second.created_by, second.revoked_at) == (user.id, Role.USER, ops.id, None)
    assert not hasattr(first, "digest")


def test_any_printable_name_will_do_and_may_be_used_again(desk: Desk) -> None:
    for name in ("x", "x" * 64, "Ada's key, 2nd", "\u5c71\u7530"):
        first, _ = desk.keys.create(name, Role.USER, LOCAL)
        second, _ = desk.keys.create(name, Role.USER, LOCAL)
        assert first.id != second.id and first.name == second.name == name


def test_other_names_are_refused_and_nothing_is_made(desk: Desk) -> None:
    for name in ("", " ", "x" * 65, "a\nb", "a\x00b", "\x1b[31m", "\u202eevil", "\ud800"):
        with pytest.raises(BadRequest, match="1 to 64 printable characters"):
            desk.keys.create(name, Role.USER, LOCAL)
    assert desk.keys.list() == []


def test_a_key_makes_no_key_above_its_own_role(desk: Desk) -> None:
    for maker in Role:
        principal, _ = desk.make(maker)
        for role in Role:
            if maker.includes(role):
                assert desk.make(role, by=principal.id)[0].role is role
            else:
                with pytest.raises(Forbidden, match=f"role {maker} cannot make one of role {role}"):
                    desk.make(role, by=principal.id)


def test_a_revoked_key_makes_and_revokes_no_others(desk: Desk) -> None:
    principal, _ = desk.make()
    other, plaintext = desk.make()
    desk.keys.revoke(principal.id, LOCAL)
    with pytest.raises(Forbidden, match="is revoked"):
        desk.make(by=principal.id)
    with pytest.raises(Forbidden, match="is revoked"):
        desk.keys.revoke(other.id, by=principal.id)
    assert desk.keys.authenticate(plaintext) == other


def test_a_key_counts_as_its_maker_for_a_day(desk: Desk) -> None:
    maker, _ = desk.make()
    desk.time += 100 * HOUR
    made, plaintext = desk.make(by=maker.id)
    assert made.root == desk.root(plaintext) == desk.root(plaintext, 23.999) == maker.id
    assert desk.root(plaintext, 0.001) == made.id


def test_a_key_made_locally_is_its_own_principal_at_once(desk: Desk) -> None:
    first, one = desk.make()
    second, two = desk.make()
    assert (desk.root(one), desk.root(two)) == (first.id, second.id)


def test_keys_made_in_a_row_all_count_as_the_first_maker(desk: Desk) -> None:
    maker, _ = desk.make()
    desk.time += 100 * HOUR
    last = maker
    for _ in range(5):
        last, plaintext = desk.make(by=last.id)
        assert desk.root(plaintext, 4) == maker.id
    # The next one a minute before the day of its maker is over: its own day begins only now.
    desk.time = MADE_AT + 100 * HOUR + 16 * HOUR + 24 * HOUR - HOUR // 60
    _, plaintext = desk.make(by=last.id)
    assert desk.root(plaintext) == desk.root(plaintext, 23.9) == maker.id


def test_a_key_older_than_a_day_makes_keys_in_its_own_name(desk: Desk) -> None:
    maker, _ = desk.make()
    grown, _ = desk.make(by=maker.id)
    desk.time += 25 * HOUR
    _, plaintext = desk.make(by=grown.id)
    assert desk.root(plaintext) == grown.id
