"""The snapshot that a person agrees to: complete, plain, the same for the same findings, without anybody's words."""

import hashlib
from collections.abc import Iterator

import orjson
import pytest
from customers import BETTER, DUNNO, FINE, NEW, OLD, World, evaluation

from core.decoys import APPEAL, COMMON, UNKNOWING
from core.experiments import Experiments
from core.lifecycle import Stage
from core.settings import Settings
from core.store import Store
from core.types import ExperimentKind, Json, JsonObject
from monitoring.gates.evidence import Trial, plain, snapshot
from monitoring.gates.ruling import Reason, Ruling
from monitoring.gates.witness import Witness
from monitoring.terms import terms

QUICK: JsonObject = {"shadow": {"share": 1.0}, "experiment": {"min_hours": 0.01, "first_subjects": 10}}


@pytest.fixture
def world(sqlite_store: Store) -> World:
    """v1 awaits approval."""
    world = World(sqlite_store, QUICK)
    world.register("v1", BETTER, {**evaluation(), "dataset": "d" * 64, "method": "sft"})
    while world.story.stage("v1") is not Stage.AWAITING_APPROVAL:
        world.conductor.tick()
        world.traffic(150)
        world.wait(6 * 3600)
    return world


def frozen(world: World) -> JsonObject:
    found = world.story.registry.evidence("v1")
    assert found is not None
    return found.snapshot


def leaves(value: Json) -> Iterator[Json]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def at(value: Json, *path: str | int) -> Json:
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def test_it_names_every_file_by_its_digest(world: World) -> None:
    found = frozen(world)
    assert at(found, "candidate", "artifact") == "digest of v1"
    assert at(found, "champion") == {"version": "v0", "artifact": "digest of v0"}
    assert at(found, "base") == {"name": "tiny", "digest": "digest of tiny"}
    assert (at(found, "candidate", "dataset"), at(found, "candidate", "method")) == ("d" * 64, "sft")
    assert found["terms_digest"] == terms(Settings.model_validate(QUICK)).digest


def test_it_holds_the_figures_and_the_verdict_of_every_gate(world: World) -> None:
    found = frozen(world)
    assert at(found, "offline", "held_out", "units") == 82
    assert at(found, "offline", "figures", "held_out", "candidate", "exact") == 0.5
    assert at(found, "shadow", "answered") == 300
    assert at(found, "experiment", "primary", "effect") == "better"
    assert len(at(found, "experiment", "guardrails")) == 4  # type: ignore[arg-type]
    assert at(found, "experiment", "share") == 0.5
    assert [at(ruling, "stage") for ruling in found["gates"]] == ["candidate", "shadow", "ab"]  # type: ignore[union-attr]
    controls = {at(reason, "control") for reason in at(found, "gates", 2, "reasons")}  # type: ignore[union-attr]
    assert controls >= {"thumbs", "split of subjects", "guardrail latency", "time at the final split"}


def test_it_holds_the_controls_that_ran_and_what_became_of_the_judge(world: World) -> None:
    found = frozen(world)
    names = [COMMON, UNKNOWING, APPEAL]
    for stage, place in (("offline", 0), ("shadow", 1)):
        assert sorted(at(decoy, "name") for decoy in at(found, stage, "decoys")) == sorted(names)  # type: ignore[union-attr,type-var]
        said = {at(reason, "control"): at(reason, "says") for reason in at(found, "gates", place, "reasons")}  # type: ignore[union-attr]
        assert all(str(said[name]).startswith("stopped, as it has to be, by ") for name in names)
    assert at(found, "shadow", "judge", "usable") is False
    assert at(found, "shadow", "judge", "reason") == "no judge has been asked yet: references and people decide alone"


def test_its_digest_is_that_of_its_canonical_json(world: World) -> None:
    found = world.story.registry.evidence("v1")
    assert found is not None
    assert found.digest == hashlib.sha256(orjson.dumps(found.snapshot, option=orjson.OPT_SORT_KEYS)).hexdigest()
    floats = [leaf for leaf in leaves(found.snapshot) if isinstance(leaf, float)]
    assert len(floats) > 20
    assert all(leaf == round(leaf, 6) for leaf in floats)


def test_nobodys_words_and_no_subject_are_in_it(world: World) -> None:
    text = orjson.dumps(frozen(world)).decode()
    assert not [word for word in [*OLD, *NEW, *OLD.values(), *NEW.values(), DUNNO, "0" * 60] if word in text]


def test_the_same_findings_give_the_same_snapshot(world: World) -> None:
    def taken() -> JsonObject:
        found = terms(Settings.model_validate(QUICK))
        witness = Witness(world.store, found, lambda: world.story.time, lambda _: FINE)
        model = world.story.registry.model("v1")
        experiment = Experiments(world.store).running()[ExperimentKind.AB]
        trial = Trial(experiment, witness.looked(experiment))
        champion = world.story.registry.model("v0")
        return snapshot(model, champion, found, witness.screened(model), witness.mirrored(model), [], trial, 5)

    assert taken() == taken()
    assert orjson.loads(orjson.dumps(taken())) == taken()


def test_what_is_not_finite_has_no_number() -> None:
    assert plain({"a": float("nan"), "b": [float("inf"), 1 / 3], "c": Ruling.HOLD}) == {
        "a": None,
        "b": [None, 0.333333],
        "c": "hold",
    }
    assert plain(Reason("x", Ruling.REJECT, "y")) == {"control": "x", "ruling": "reject", "says": "y"}


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"gate": {"margin": 0.04}}, False),
        ({"experiment": {"planned": 500}}, False),
        ({"shadow": {"share": 0.5}}, False),
        ({"gate": {"max_length_ratio": 1.4}}, False),
        ({"approval": {"max_age_hours": 5}}, True),
        ({"monitoring": {"tick": 1}}, True),
        ({"triggers": {"supersede_hours": 1}}, True),
    ],
    ids=str,
)
def test_the_terms_are_those_that_evidence_depends_on(change: JsonObject, same: bool) -> None:
    assert (terms(Settings.model_validate(change)).digest == terms(Settings()).digest) is same
