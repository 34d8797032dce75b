"""The error tree: its drawing, its statuses and what a caller reads."""

import re
from collections.abc import Iterator

import pytest

from core import errors


def tree(root: type[errors.HoneError] = errors.HoneError) -> Iterator[type[errors.HoneError]]:
    for child in root.__subclasses__():
        yield child
        yield from tree(child)


def drawn() -> dict[str, str]:
    """Each class of the drawing in the module's docstring with the rest of its line."""
    lines = re.findall(r"^[|\s`-]*-- (\w+)(.*)$", errors.__doc__ or "", re.M)
    return {name: rest for name, rest in lines}


def test_the_drawing_shows_every_error_once() -> None:
    ours = [error.__name__ for error in tree() if error.__module__ == errors.__name__]
    assert sorted(drawn()) == sorted(ours)


def test_the_drawing_shows_the_status() -> None:
    for name, rest in drawn().items():
        if status := re.match(r"\s+(\d{3})\b", rest):
            assert getattr(errors, name).status == int(status[1]), name


@pytest.mark.parametrize("error", list(tree()), ids=lambda e: e.__name__)
def test_an_error_keeps_its_message_and_its_shape_on_the_wire(error: type[errors.HoneError]) -> None:
    raised = error("cause and next step", param="model", retry_after=2.5)
    assert str(raised) == raised.message == "cause and next step"
    assert (raised.param, raised.retry_after) == ("model", 2.5)
    assert raised.code == error.default_code
    assert error("x", code="other").code == "other"
    assert 400 <= raised.status < 600
    assert raised.type in {"invalid_request_error", "permission_error", "rate_limit_error", "server_error"}


def test_a_client_may_retry_exactly_what_is_not_its_own_fault() -> None:
    for error in tree():
        assert (error.type == "server_error") == (error.status >= 500), error
