"""What people said of answers, as far as it still stands: the last word of each under each name, not taken back."""

from sqlalchemy import ColumnElement, Select, func, select

from core.schema import feedback, retractions


def standing(answers: Select[tuple[str | None]], *wanted: ColumnElement[bool]) -> Select[tuple[object, ...]]:
    """The rows of feedback about these answers that count; taking one back does not bring the one before it back."""
    last = feedback.c.created_at.desc(), feedback.c.id.desc()
    voice = feedback.c.interaction, feedback.c.name, feedback.c.actor
    place = func.row_number().over(partition_by=voice, order_by=last).label("place")
    words = (
        select(feedback, retractions.c.feedback.label("retracted"), place)
        .join(retractions, retractions.c.feedback == feedback.c.id, isouter=True)
        .where(feedback.c.interaction.in_(answers), *wanted)
        .subquery()
    )
    return select(words).where(words.c.place == 1, words.c.retracted.is_(None))
