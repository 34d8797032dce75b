"""Interactions and judgements for tests, with everything that a test does not care about filled in."""

from collections.abc import Sequence
from dataclasses import replace

from core.ids import new_id
from core.types import Arm, Feedback, Finish, Interaction, JsonObject, Role, Subject, Version

ALICE, BOB = Subject("a" * 64), Subject("b" * 64)
REPLY = {"role": "assistant", "content": "Open the settings."}


def says(*texts: str) -> Sequence[JsonObject]:
    """A conversation in which user and assistant take turns."""
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(texts)]


def answer(*texts: str, **changes: object) -> Interaction:
    """An answered conversation."""
    interaction = Interaction(
        id=new_id(),
        created_at=1_800_000_000_000_000,
        kind="chat",
        key_id="key-1",
        subject=ALICE,
        arm=Arm.CHAMPION,
        assigned=Version("tiny-v1-aaaa"),
        served=Version("tiny-v1-aaaa"),
        propensity=1.0,
        revision=3,
        finish=Finish.STOP,
        config_digest="c" * 64,
        messages=says(*(texts or ("How do I reset it?",))),
        reply=REPLY,
    )
    return replace(interaction, **changes)  # type: ignore[arg-type]


def thumb(interaction: Interaction, **changes: object) -> Feedback:
    """A thumb up for an answer."""
    feedback = Feedback(
        id=f"fb_{new_id()}",
        created_at=interaction.created_at + 1,
        interaction=interaction.id,
        name="thumbs",
        value=1.0,
        label=None,
        actor=interaction.subject,
        key_id=interaction.key_id,
        role=Role.USER,
    )
    return replace(feedback, **changes)  # type: ignore[arg-type]
