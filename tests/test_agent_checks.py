"""/api/checks: looks at streams by kind and page, and the newest of each in the status."""

from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from fixtures_gateway import CHALLENGER, CHAMPION, Gateway, gateway
from fixtures_loop import ask
from sqlalchemy import delete, insert

from core import audit, states
from core.ids import new_id
from core.schema import checks as table
from core.types import Check, Role, Verdict


@pytest.fixture(scope="module")
def hone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with gateway(tmp_path_factory.mktemp("checks")) as running:
        with running.parts.store.write() as conn:
            for check in CHECKS:
                conn.execute(insert(table).values(**asdict(check)))
        yield running


def check(kind: str, stream: str, verdict: Verdict, at: int) -> Check:
    return Check(new_id(at), at * 1000, kind, stream, CHAMPION, 1.5, 9.0, verdict, 400, {"reference": 500})


CHECKS = [
    check("drift", "confidence", Verdict.WARMING, 1),
    check("calibration", "thumbs", Verdict.OK, 2),
    check("drift", "confidence", Verdict.OK, 3),
    check("drift", "length", Verdict.OK, 4),
    check("drift", "confidence", Verdict.ALARM, 5),
]


def test_checks_come_newest_first_by_page(hone: Gateway) -> None:
    seen, cursor = [], ""
    for _ in range(10):
        page = ask(hone, "GET", f"/api/checks?limit=2{cursor}").json()
        seen += page["data"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    assert [(item["id"], item["verdict"]) for item in seen] == [(c.id, c.verdict) for c in CHECKS[::-1]]
    assert seen[0] == {**asdict(CHECKS[-1]), "verdict": "alarm"}


def test_checks_are_listed_by_kind(hone: Gateway) -> None:
    listed = ask(hone, "GET", "/api/checks?kind=calibration").json()["data"]
    assert [item["id"] for item in listed] == [CHECKS[1].id]
    assert len(ask(hone, "GET", "/api/checks?kind=drift").json()["data"]) == 4


def test_a_kind_that_does_not_exist_is_refused_with_those_that_do(hone: Gateway) -> None:
    error = ask(hone, "GET", "/api/checks?kind=weather").json()["error"]
    assert (error["param"], error["code"]) == ("kind", "invalid_value")
    assert "'drift', 'calibration' or 'explanation'" in error["message"]


def test_the_status_has_the_newest_check_of_each_stream(hone: Gateway) -> None:
    newest = ask(hone, "GET", "/api/status").json()["checks"]
    assert [(c["kind"], c["stream"], c["verdict"]) for c in newest] == [
        ("drift", "confidence", "alarm"),
        ("drift", "length", "ok"),
        ("calibration", "thumbs", "ok"),
    ]


def test_the_status_leaves_out_what_was_found_of_a_former_champion(hone: Gateway) -> None:
    of_another = replace(check("drift", "pace", Verdict.ALARM, 6), version=CHALLENGER)
    with hone.parts.store.write() as conn:
        conn.execute(insert(table).values(**asdict(of_another)))
    assert "pace" not in {c["stream"] for c in ask(hone, "GET", "/api/status").json()["checks"]}
    assert ask(hone, "GET", "/api/checks?limit=1").json()["data"][0]["stream"] == "pace"
    with hone.parts.store.write() as conn:
        conn.execute(delete(table).where(table.c.id == of_another.id))


def test_checks_are_for_operators(hone: Gateway) -> None:
    assert [ask(hone, "GET", "/api/checks", role=role).status_code for role in Role] == [403, 403, 200]


def test_an_operator_deals_with_alarms_and_says_why(hone: Gateway) -> None:
    noted = ask(hone, "POST", "/api/checks/acknowledge", {"reason": "a fair was in town"})
    assert noted.status_code == 200
    with hone.parts.store.read() as conn:
        kept = states.read(conn, states.ACKNOWLEDGED)
        last = audit.page(conn, limit=1000).items[-1]
    assert kept is not None and kept.updated_at == noted.json()["at"]
    assert (last.action, last.body) == ("checks.acknowledge", {"reason": "a fair was in town"})
    assert ask(hone, "POST", "/api/checks/acknowledge", {}).status_code == 400
    assert ask(hone, "POST", "/api/checks/acknowledge", {"reason": "x"}, role=Role.REVIEWER).status_code == 403
