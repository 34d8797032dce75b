"""The store of one who holds a lease: each write first makes sure, in its own transaction, that nobody else took over.

So whatever writes through it (the registry, experiments, runs) cannot do so for a conductor that was frozen meanwhile.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from core import leases
from core.leases import Lease
from core.store import Store


class Fenced(Store):
    """The same database as `store`; reads are free, writes are for the holder of `lease`."""

    def __init__(self, store: Store, lease: Lease) -> None:
        super().__init__(store.engine)
        self._lease = lease

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """As Store.write. Raises LeaseLost, with nothing written, when another one holds the lease."""
        with super().write() as conn:
            leases.check(conn, self._lease)
            yield conn
