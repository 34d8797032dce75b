"""The parts of a gateway, put together by `__main__` and by tests; nothing here runs yet."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, inspect

from agent.authenticate import Authenticator
from agent.bell import Bell
from agent.erasures import Erasures
from agent.fallback import Fallback
from agent.gate import Gate
from agent.metrics import Condition, Metrics
from agent.mirror import Mirror
from agent.plans import Plans
from agent.readiness import Readiness
from agent.throttle import FailedLogins
from core import asking
from core.clock import Clock, now
from core.config import Settings
from core.datasets import FOLDER, Datasets
from core.errors import SetupError, Unavailable
from core.keys import Keys
from core.ledger import Ledger
from core.registry import Registry
from core.schema import metadata
from core.secret import Secret
from core.spool import Spool
from core.store import Store
from core.writer import Writer
from serving.client import EngineClient
from serving.shadow import ShadowQueue

SPOOL = "spool"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What `create_app` needs. `abort` ends the process when a part that must not fail did."""

    settings: Settings
    store: Store
    secret: Secret
    keys: Keys
    registry: Registry
    writer: Writer
    ledger: Ledger
    engine: EngineClient
    plans: Plans
    fallback: Fallback
    readiness: Readiness
    metrics: Metrics
    authenticator: Authenticator
    gate: Gate
    bell: Bell
    mirror: Mirror
    erasures: Erasures
    clock: Clock
    abort: Callable[[], None]


def compose(settings: Settings, store: Store, secret: Secret, abort: Callable[[], None], clock: Clock = now) -> Parts:
    """Parts over an open ledger; opens the spool, which raises SetupError when its folder cannot be used."""
    writer = Writer(store, _spool(settings), settings.ledger)
    registry, keys = Registry(store, clock), Keys(store, secret, clock)
    engine = EngineClient(settings.engine_url, secret.engine_key())
    gate, plans = Gate(), Plans(registry, clock, partial(asking.wants_more, store))
    fallback = Fallback(settings.providers.fallback)
    readiness = Readiness(engine, plans, writer, gate, stand_in=fallback.there)
    logins = FailedLogins(settings.gateway.failed_logins_per_minute, time.monotonic)

    def look() -> Condition:
        return Condition(readiness.ready, plans.running, plans.plan.revision if plans.plan else 0, writer.stats())

    ledger, bell, metrics = Ledger(store, writer, secret, clock), Bell(), Metrics(look)
    queue = ShadowQueue(settings.shadow, metrics.mirrored)
    mirror = Mirror(engine, ledger, plans, bell, queue, settings.shadow, settings.gateway.deadline, clock)
    folder, spool = Datasets(settings.data / FOLDER), settings.data / SPOOL
    erasures = Erasures(store, registry, writer, ledger, folder, spool, clock)
    return Parts(
        settings=settings,
        store=store,
        secret=secret,
        keys=keys,
        registry=registry,
        writer=writer,
        ledger=ledger,
        engine=engine,
        plans=plans,
        fallback=fallback,
        readiness=readiness,
        metrics=metrics,
        authenticator=Authenticator(keys, logins, time.monotonic),
        gate=gate,
        bell=bell,
        mirror=mirror,
        erasures=erasures,
        clock=clock,
        abort=abort,
    )


def check_schema(store: Store) -> None:
    """Raise SetupError when the ledger lacks something that this code needs; one that does not answer is waited for."""
    try:
        with store.read() as conn:
            missing = list(_missing(conn))
    except Unavailable as error:
        log.warning("the ledger was not checked: %s", error.message)
        return
    if missing:
        raise SetupError(f"The ledger lacks {missing[0]} and {len(missing) - 1} more; run `hone db upgrade`.")


def _missing(conn: Connection) -> Iterator[str]:
    there = inspect(conn)
    tables = set(there.get_table_names())
    for table in metadata.tables.values():
        known = {column["name"] for column in there.get_columns(table.name)} if table.name in tables else set()
        yield from (str(column) for column in table.columns if column.name not in known)


def _spool(settings: Settings) -> Spool:
    folder = settings.data / SPOOL
    try:
        return Spool.open(folder, settings.ledger.spool_mib * 2**20)
    except OSError as error:
        raise SetupError(f"The spool {folder} cannot be used: {error.strerror}.") from None
