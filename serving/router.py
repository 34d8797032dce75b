"""Who answers whom: a pure function of the plan and the subject.

Named version > conversation pin > hold-back > experiment > champion. A subject's place is a salted hash, so it is the
same in every process and after every restart, and raising a share only adds subjects to it. Knows no engine, no clock
and no store.
"""

import hashlib

from core.types import Arm, Assignment, Plan, Subject, Version

_MANTISSA = 53


def bucket(salt: str, subject: Subject) -> float:
    """The subject's place in [0, 1) under this salt: uniform over subjects, independent between salts."""
    digest = hashlib.sha256(f"{salt}\0{subject}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _MANTISSA)) / (1 << _MANTISSA)


def assign(plan: Plan, subject: Subject, *, named: Version | None = None, pinned: Version | None = None) -> Assignment:
    """The version that this call should go to.

    A pin holds as long as the plan keeps its version loaded. `propensity` is the probability, over subjects, of the arm
    that was drawn; a named or pinned call was not drawn, so it carries 1.
    """
    if named:
        return Assignment(Arm.NAMED, named, 1.0, plan.revision)
    if pinned in plan.live():
        return _assignment(plan, Arm.PINNED, pinned, 1.0)
    return _draw(plan, subject)


def _draw(plan: Plan, subject: Subject) -> Assignment:
    rest = 1.0
    if held := plan.holdback:
        if bucket(held.salt, subject) < held.share:
            return _assignment(plan, Arm.HOLDBACK, held.version, held.share)
        rest -= held.share
    if not (split := plan.split):
        return _assignment(plan, Arm.CHAMPION, plan.champion, rest)
    if bucket(split.salt, subject) < split.share:
        return _assignment(plan, Arm.CHALLENGER, split.challenger, rest * split.share, split.experiment)
    return _assignment(plan, Arm.CHAMPION, plan.champion, rest * (1.0 - split.share), split.experiment)


def _assignment(plan: Plan, arm: Arm, version: Version, propensity: float, experiment: str | None = None) -> Assignment:
    reserve = plan.champion if version != plan.champion else None
    return Assignment(arm, version, propensity, plan.revision, experiment, reserve)
