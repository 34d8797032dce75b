"""What a demo makes of Hone's documents: the alarm that counts, where a run stands, what speaks for a candidate."""

from typing import Any

import pytest
from fixtures_service import FakeService
from scripted_hone import NEW, OLD, ScriptedHone, check

from agent.demo import findings
from agent.loop_documents import CheckDocument, RunDocument
from agent.status_documents import StatusDocument


async def status(*checks: dict[str, Any], **changes: Any) -> StatusDocument:
    made = await ScriptedHone(FakeService(version=OLD)).status()
    return made.model_copy(update={"checks": [CheckDocument.model_validate(each) for each in checks], **changes})


async def run(**progress: Any) -> RunDocument:
    made = await ScriptedHone(FakeService(version=OLD)).run("r1")
    return made.model_copy(update={"progress": progress})


async def test_of_several_alarms_that_of_the_thumbs_is_told() -> None:
    found = findings.alarm(await status(check("alarm", "length"), check("alarm"), check("ok", "prompt")))
    assert found is not None
    assert findings.check_words(found) == "thumbs: lower for about 7 observations"


async def test_neither_calibration_nor_another_version_is_a_drift_of_the_champion() -> None:
    others = [{**check("alarm"), "kind": "calibration"}, {**check("alarm"), "version": NEW}, check("warming")]
    assert findings.alarm(await status(*others)) is None


@pytest.mark.parametrize(("verdict", "watched"), [("warming", False), ("ok", True), ("alarm", True)])
async def test_a_fall_is_noticed_once_the_thumbs_have_a_reference(verdict: str, watched: bool) -> None:
    assert findings.has_reference(await status(check("ok", "length"), check(verdict))) is watched


async def test_what_is_waited_for_is_told_in_hones_own_words() -> None:
    words = findings.waiting_words(await status(check("alarm")))
    assert words == "answers got worse, waiting for data: 3 of 9; thumbs: lower for about 7 observations"
    assert findings.waiting_words(await status(next_run=None)) == "Hone has not looked yet"


async def test_a_run_is_told_with_what_it_says_of_itself() -> None:
    told = await run(stage="training", step=30, steps=120, loss=0.5, eta_seconds=44.6)
    assert findings.progress(told) == ("training, step 30 of 120, loss 0.500, 45 s left", 0.25)
    assert findings.loss(told) == (30, 0.5)


async def test_a_run_that_says_nothing_yet_is_told_by_its_state() -> None:
    silent = await run()
    assert findings.progress(silent) == ("running", 0.0)
    assert findings.loss(silent) is None


async def test_the_evidence_is_put_before_the_person_who_decides_control_by_control() -> None:
    hone = ScriptedHone(FakeService(version=OLD), stages=("awaiting_approval",))
    text = "\n".join(findings.evidence_words(await hone.model(NEW)))
    for words in (
        NEW,
        OLD,
        "system:worse",
        "held-out rows: better",
        "old skills: kept",
        "thumbs: better by +0.3",
        "d1",
    ):
        assert words in text


async def test_a_candidate_without_frozen_evidence_is_told_by_its_last_ruling() -> None:
    hone = ScriptedHone(FakeService(version=OLD), stages=("shadow",))
    assert [control.name for control in findings.controls(await hone.model(NEW))] == ["held-out rows"]
