"""A change of champion, told to the one who ordered it."""

from agent.cli.terminal import note, say
from core.types import JsonObject


def say_succession(change: JsonObject) -> None:
    """Who is champion now, since when, and what is not as it should be."""
    say(f"{change['champion']} is the champion now; it took {change['seconds']:.2f} s.")
    if change.get("previous"):
        note(f"hone: {change['previous']} stays loaded; `hone rollback --reason R` swaps the two.")
    if change.get("self_approved"):
        note("hone: you asked for the run yourself: recorded as self-approved (approval.four_eyes is off).")
    if not change["acknowledged"]:
        note("hone: not every gateway has taken it over yet; `hone status` shows the plan that each one goes by.")
