"""Local authority: the ledger opened directly by whoever may read the data folder, with or without a running Hone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core import migrate
from core.config import Settings
from core.errors import SetupError
from core.keys import LOCAL, Keys
from core.registry import Registry
from core.secret import Secret
from core.store import Store
from core.types import Role

LEDGER = "ledger.db"


@dataclass(frozen=True, slots=True)
class Local:
    """The parts of Hone that work on the ledger alone."""

    settings: Settings
    store: Store
    secret: Secret

    @property
    def keys(self) -> Keys:
        return Keys(self.store, self.secret)

    @property
    def registry(self) -> Registry:
        return Registry(self.store)


@contextmanager
def open_ledger(settings: Settings) -> Iterator[Local]:
    """The ledger of the data folder; raises SetupError when there is none or it is not at this code's revision."""
    check_exists(settings)
    current = migrate.revision(settings.database_url)
    migrate.check_known(current)
    if current != migrate.head():
        raise SetupError(f"The ledger is at revision {current or 'none'}, not {migrate.head()}; run `hone db upgrade`.")
    store = Store.open(settings.database_url)
    try:
        yield Local(settings, store, Secret.load(settings.data))
    finally:
        store.close()


def check_exists(settings: Settings) -> None:
    """Raise SetupError where Hone never started: nothing is made by merely looking."""
    if not settings.ledger.url and not (settings.data / LEDGER).exists():
        raise SetupError(
            f"There is no Hone data in {settings.data}; start it once with `hone up`, set HONE_DATA to its folder, "
            "or set HONE_URL and HONE_KEY to use a Hone elsewhere."
        )


def first_keys(keys: Keys) -> dict[Role, str]:
    """One new key a role, by plaintext, if no operator's key was ever made; otherwise nothing.

    The operator's comes last, so that a start that is cut off here leaves the next one to make them all.
    """
    if any(key.role is Role.OPS for key in keys.list()):
        return {}
    return {role: keys.create(f"first {role}", role, LOCAL)[1] for role in Role}


@contextmanager
def lent_key(settings: Settings, name: str, role: Role) -> Iterator[str]:
    """A key for the time of the block, made by local authority and revoked at its end."""
    with open_ledger(settings) as local:
        holder, key = local.keys.create(name, role, LOCAL)
    try:
        yield key
    finally:
        with open_ledger(settings) as local:
            local.keys.revoke(holder.id, LOCAL)
