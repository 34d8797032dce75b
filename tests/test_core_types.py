"""The words of the domain: immutable, and ordered where order means something."""

import dataclasses
import itertools

import pytest

from core import types
from core.types import Holdback, Plan, Role, Split, Version

RECORDS = [value for value in vars(types).values() if isinstance(value, type) and dataclasses.is_dataclass(value)]


def version(name: str) -> Version:
    return Version(name)


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: r.__name__)
def test_a_record_is_frozen_and_slotted(record: type) -> None:
    parameters = record.__dataclass_params__  # type: ignore[attr-defined]
    assert parameters.frozen
    assert hasattr(record, "__slots__")


def test_each_role_includes_itself_and_the_ones_before_it() -> None:
    included = {(a, b) for a, b in itertools.product(Role, Role) if a.includes(b)}
    user, reviewer, ops = Role.USER, Role.REVIEWER, Role.OPS
    assert included == {
        (user, user),
        (reviewer, user),
        (reviewer, reviewer),
        (ops, user),
        (ops, reviewer),
        (ops, ops),
    }


def test_the_engine_holds_every_version_that_a_plan_may_send_a_call_to() -> None:
    plan = Plan(
        revision=4,
        champion=version("c"),
        previous=version("p"),
        shadow=version("s"),
        split=Split("x", version("a"), 0.1, "salt"),
        holdback=Holdback(version("h"), 0.05, "salt"),
    )
    assert plan.live() == {"c", "p", "s", "a", "h"}


def test_a_plan_with_a_champion_only_needs_only_that() -> None:
    assert Plan(revision=1, champion=version("c")).live() == {"c"}
    assert Plan(revision=2, champion=version("c"), previous=version("c")).live() == {"c"}
