"""What the tables are made with: their common metadata, JSON as text, and times."""

from typing import Any

import orjson
from sqlalchemy import BigInteger, Column, Dialect, MetaData, Text, TypeDecorator

metadata = MetaData()


class JsonText(TypeDecorator[Any]):
    """JSON kept as text: every code point survives on both databases, U+0000 included."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


def time(name: str, *, nullable: bool = False) -> Column[int]:
    """A column of microseconds since the epoch."""
    return Column(name, BigInteger, nullable=nullable)
