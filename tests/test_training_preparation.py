"""Before the trainer starts: the dataset that a run keeps, and the order that names everything it needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fixtures_serving import write_model
from sqlalchemy import Connection, update
from training_place import Place, words

from core import lineage, schema
from core.errors import SetupError
from core.store import Store
from core.types import Interaction
from serving.adapters import CONFIG
from serving.base import BUILT_IN
from training import order
from training.preparation import Preparation


class ErasingStore(Store):
    """Somebody's erasure comes first in the first write."""

    def __init__(self, store: Store, call: Interaction) -> None:
        super().__init__(store.engine)
        self._call: Interaction | None = call

    @contextmanager
    def write(self) -> Iterator[Connection]:
        if self._call is not None:
            call, self._call = self._call, None
            with super().write() as conn:
                for table in (schema.interactions, schema.nodes):
                    conn.execute(update(table).where(table.c.subject == call.subject).values(erased_at=7))
                conn.execute(update(schema.nodes).where(schema.nodes.c.subject == call.subject).values(body=None))
        with super().write() as conn:
            yield conn


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str) -> Iterator[Place]:
    opened = Place.open(tmp_path, sqlite_url, write_model(tmp_path / "model"))
    opened.rate(words(40))
    yield opened
    opened.store.close()


@pytest.fixture
def preparation(place: Place) -> Preparation:
    return Preparation(place.settings, place.store, place.secret)


def test_an_answer_that_is_erased_meanwhile_is_in_no_dataset(place: Place) -> None:
    given = words(5, seed=3)
    place.rate(given)
    preparation = Preparation(place.settings, ErasingStore(place.store, given[0][0]), place.secret)
    digest = preparation.curate(place.ask(), None)
    with place.store.read() as conn:
        used = {use.interaction for use in lineage.of_dataset(conn, digest)}
    assert given[1][0].id in used
    assert given[0][0].id not in used
    assert list(preparation.datasets.digests()) == [digest]


def test_the_order_of_a_run_stays_what_it_was(place: Place, preparation: Preparation) -> None:
    run = place.ask(steps=7)
    digest = preparation.curate(run, None)
    first = preparation.order(run, digest)
    other = Place.open(place.settings.data, place.settings.database_url, place.settings.engine.model, threads=7)
    again = Preparation(other.settings, other.store, other.secret).order(run, digest)
    assert again == first
    assert first.order.recipe.steps == 7
    assert first.order.dataset_digest == digest
    other.store.close()


def test_another_dataset_empties_the_folder(place: Place, preparation: Preparation) -> None:
    run = place.ask()
    first = preparation.order(run, preparation.curate(run, None))
    (place.folder(run) / order.CHECKPOINTS).mkdir()
    place.rate(words(3, seed=4))
    second = preparation.order(run, preparation.curate(run, first.order.dataset_digest))
    assert second.order.dataset_digest != first.order.dataset_digest
    assert not (place.folder(run) / order.CHECKPOINTS).exists()


def test_version_0_has_no_adapter_to_compare_with_and_any_other_champion_has(
    place: Place, preparation: Preparation
) -> None:
    done = place.train()
    run = place.ask()
    digest = preparation.curate(run, None)
    first = preparation.order(run, digest)
    assert first.order.champion is None
    place.runs.cancel(run.id, "me", "no")
    place.crown(done.model)
    second = preparation.order(place.ask(), digest)
    assert second.parent == done.model != first.parent
    assert second.order.champion is not None and (second.order.champion / CONFIG).is_file()


def test_old_skills_that_are_not_there_are_named(place: Place) -> None:
    settings = place.settings.training.model_copy(update={"old_skills": "/nowhere.jsonl"})
    changed = place.settings.model_copy(update={"training": settings})
    preparation = Preparation(changed, place.store, place.secret)
    run = place.ask()
    with pytest.raises(SetupError, match=r"training\.old_skills names /nowhere\.jsonl, which does not exist"):
        preparation.order(run, preparation.curate(run, None))


def test_hone_tiny_brings_old_skills_and_other_bases_none(
    place: Place, preparation: Preparation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = place.ask()
    digest = preparation.curate(run, None)
    assert preparation.order(run, digest).order.old_skills is None
    engine = place.settings.engine.model_copy(update={"model": "hone-tiny"})
    tiny = Preparation(place.settings.model_copy(update={"engine": engine}), place.store, place.secret)
    place.runs.cancel(run.id, "me", "no")
    assert tiny.order(place.ask(), digest).order.old_skills == BUILT_IN / "oldskills.jsonl"
