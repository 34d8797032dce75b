"""A run's own evaluation as evidence: what is missing holds, what is broken rejects, and each for its own reason."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from customers import FINE, compared, evaluation
from safetensors.numpy import save_file

from core.decoys import APPEAL, COMMON, UNKNOWING
from core.lifecycle import Stage
from core.settings import Settings
from core.types import JsonObject, Model, Version
from monitoring.gates import gate, offline
from monitoring.gates.ruling import Decision, Reason, Ruling
from monitoring.gates.weights import Weights
from monitoring.terms import terms
from serving.adapters import CONFIG, WEIGHTS
from serving.artifacts import Artifacts

TERMS = terms(Settings())
LAYER = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"


def model(manifest: JsonObject, digest: str = "d", parent: str = "v0") -> Model:
    name, base = Version("v1"), "tiny"
    return Model(name, 0, Stage.CANDIDATE, 0, base, "b", digest, digest, Version(parent), "run_1", manifest)


def screened(manifest: JsonObject, weights: Reason = FINE, parent: str = "v0") -> Decision:
    # Through JSON, as the manifest comes from the database: not a number is null there.
    found: JsonObject = orjson.loads(orjson.dumps(manifest))
    evidence = offline.read(model(found, parent=parent), Version("v0"), weights, TERMS)
    return gate.candidate(evidence, 0, TERMS.gate, 1)


def broken(name: str) -> JsonObject:
    """A set on which a figure of the candidate is not a number."""
    whole: dict[str, Any] = dict(compared(40, 2, 40))
    return {**whole, "candidate": {**whole["candidate"], name: float("nan")}}


def untried() -> dict[str, object]:
    """Sets as runs left them that tried no decoys."""
    sets = {"held_out": compared(40, 2, 40), "old_skills": compared(1, 1, 300)}
    return {name: {key: value for key, value in whole.items() if key != "decoys"} for name, whole in sets.items()}


def loose() -> dict[str, object]:
    """Sets on which "I do not know." is as good as the candidate."""
    held_out, old_skills = compared(40, 2, 40), compared(1, 1, 300)
    better = [difference for _, difference, _ in held_out["pairs"]]  # type: ignore[union-attr,misc]
    return {
        "held_out": {**held_out, "decoys": {UNKNOWING: better}},
        "old_skills": {**old_skills, "decoys": {UNKNOWING: [0.0] * 302}},
    }


@pytest.mark.parametrize(
    ("manifest", "ruling", "words"),
    [
        (evaluation(), Ruling.ADVANCE, "advance to shadow"),
        ({}, Ruling.HOLD, "evaluation: the run left none"),
        ({"evaluation": None}, Ruling.HOLD, "evaluation: the run left none"),
        (evaluation(held_out={"pairs": [["u", "x"]]}), Ruling.HOLD, "evaluation: it cannot be read"),
        (evaluation(held_out={"pairs": [["u", 7.0, False]]}), Ruling.HOLD, "evaluation: it cannot be read"),
        (
            evaluation(held_out={**compared(40, 2, 40), "decoys": {"x": [1]}}),
            Ruling.HOLD,
            "evaluation: it cannot be read",
        ),
        (evaluation(held_out={**compared(3, 0, 0), "decoys": {"x": ["a"] * 3}}), Ruling.HOLD, "it cannot be read"),
        (evaluation(held_out={**compared(3, 0, 0), "decoys": {"x": None}}), Ruling.HOLD, "it cannot be read"),
        (evaluation(**untried()), Ruling.HOLD, "hold: null model: nobody tried whether a constant answer passes"),
        (evaluation(**loose()), Ruling.HOLD, "null model (not knowing): it would pass too"),
        (evaluation(held_out=None), Ruling.HOLD, "held-out rows: 0 of 30 pairs"),
        (evaluation(old_skills=None), Ruling.HOLD, "name one in training.old_skills"),
        (evaluation(leaks=3), Ruling.REJECT, "rejected: leaks: 3 held-out rows were trained on"),
        (evaluation(leaks=None), Ruling.HOLD, "leaks: nobody looked"),
        (evaluation(length_ratio=1.6), Ruling.REJECT, "length of answers: 1.6 times the champion's, at most 1.5"),
        (evaluation(length_ratio=None), Ruling.HOLD, "length of answers: it was not compared"),
        (evaluation(held_out=broken("bits_per_byte")), Ruling.REJECT, "bits_per_byte on held_out is not finite"),
        (evaluation(held_out=compared(2, 40, 40)), Ruling.REJECT, "held-out rows: worse by"),
        (evaluation(old_skills=compared(2, 40, 40)), Ruling.REJECT, "old skills: worse by"),
        (evaluation(held_out=compared(0, 0, 80, same=True)), Ruling.HOLD, "the champion's own: nothing to gain"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value),
)
def test_each_fault_has_its_ruling_and_its_reason(manifest: JsonObject, ruling: Ruling, words: str) -> None:
    decision = screened(manifest)
    assert decision.ruling is ruling
    assert words in decision.says


def test_each_decoy_is_compared_on_both_sets() -> None:
    evidence = offline.read(model(evaluation()), Version("v0"), FINE, TERMS)
    assert [decoy.name for decoy in evidence.decoys] == [COMMON, UNKNOWING, APPEAL]
    for decoy in evidence.decoys:
        assert decoy.held_out is not None and (decoy.held_out.units, decoy.held_out.worse) == (82, 21)
        assert decoy.old_skills is not None and decoy.old_skills.units == 302


def test_broken_weights_reject_whatever_the_figures_say() -> None:
    decision = screened(evaluation(), Reason("weights", Ruling.REJECT, "2 tensors are not finite"))
    assert decision.says == "rejected: weights: 2 tensors are not finite"


def test_a_comparison_with_a_former_champion_says_so() -> None:
    assert "compared with v9, the champion of that time" in screened(evaluation(), parent="v9").says
    assert "of that time" not in screened(evaluation()).says


def stored(data: Path, value: float = 0.5) -> Model:
    """A version whose adapter is among the artifacts."""
    source = data / "source"
    source.mkdir(parents=True)
    tensors = {
        LAYER.format("A"): np.full((2, 4), value, np.float32),
        LAYER.format("B"): np.full((4, 2), 0.5, np.float32),
    }
    save_file(tensors, source / WEIGHTS)
    (source / CONFIG).write_bytes(orjson.dumps({"r": 2}))
    return model({}, Artifacts(data / "artifacts", 16).add(source, {"run": "r"}).digest)


def test_whole_and_finite_weights_pass(tmp_path: Path) -> None:
    found = Weights(Settings(data=tmp_path))(stored(tmp_path))
    assert found.ruling is Ruling.ADVANCE


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    found = Weights(Settings(data=tmp_path))(stored(tmp_path, float("nan")))
    assert found.ruling is Ruling.REJECT
    assert "1 tensors are not finite" in found.says and "lora_A" in found.says


def test_weights_that_are_not_there_hold(tmp_path: Path) -> None:
    found = Weights(Settings(data=tmp_path))(model({}, "nowhere"))
    assert found.ruling is Ruling.HOLD
    assert "restore it from a backup" in found.says


def test_weights_that_changed_on_the_disk_are_noticed(tmp_path: Path) -> None:
    version, weights = stored(tmp_path), Weights(Settings(data=tmp_path))
    assert weights(version).ruling is Ruling.ADVANCE
    path = tmp_path / "artifacts" / version.digest / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    assert weights(version).ruling is Ruling.REJECT
    assert "is not what it was" in weights(version).says


def test_a_rank_that_the_engine_refuses_is_refused(tmp_path: Path) -> None:
    version = stored(tmp_path)
    found = Weights(Settings.model_validate({"data": tmp_path, "engine": {"max_lora_rank": 1}}))(version)
    assert found.ruling is Ruling.REJECT
    assert "The adapter's rank is 2" in found.says
