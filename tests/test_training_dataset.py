"""Datasets: the digest is of the content, lineage leads both ways, and what was erased is gone from the disk too."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random

import orjson
import pytest
from conftest import StoppedClock, WriterFactory
from lessons import ALL, judged, replay_rows, sentence, subject
from sqlalchemy import update

from core import erasure, lineage, schema
from core.datasets import Datasets
from core.errors import Conflict, NotFound
from core.ledger import Ledger
from core.secret import Secret
from core.store import Store
from core.types import Subject
from training import dataset
from training.curation import Curated, Material, curate
from training.harvest import Harvest, Judged, harvest
from training.rows import Method, Part

RULES = replace(ALL, replay_share=0.25)


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return Datasets(tmp_path / "datasets")


@pytest.fixture
def words() -> Sequence[Judged]:
    rng = Random(1)
    words = [judged(sentence(rng), sentence(rng), by=f"user {n % 20}", correction=sentence(rng)) for n in range(60)]
    words += [judged("When do you open?", "At nine.", by=f"user {n}") for n in range(5)]
    return words


@pytest.fixture
def recorded(
    words: Sequence[Judged], store: Store, start_writer: WriterFactory, secret: Secret, clock: StoppedClock
) -> Sequence[Judged]:
    """The same words, in the ledger."""
    ledger = Ledger(store, start_writer(store), secret, clock)
    for word in words:
        assert word.interaction is not None
        ledger.record(word.interaction).result(10)
        ledger.rate(word.feedback, "digest").result(10)
    return words


def make(source: Harvest, method: Method = Method.SFT) -> Curated:
    return curate(Material(source, replays={"base": replay_rows(30, Random(2))}), method, RULES)


def erase(store: Store, who: Subject) -> None:
    """What the ledger does when a subject is erased."""
    with store.write() as conn:
        for table in (schema.interactions, schema.nodes):
            conn.execute(update(table).where(table.c.subject == who).values(erased_at=7))
        conn.execute(update(schema.nodes).where(schema.nodes.c.subject == who).values(body=None))


@pytest.mark.parametrize("method", Method)
def test_rows_come_back_exactly(store: Store, datasets: Datasets, recorded: Sequence[Judged], method: Method) -> None:
    curated = make(harvest(store), method)
    digest = dataset.keep(curated, RULES, datasets, store)
    assert dataset.load(datasets, digest) == list(curated.rows)
    assert len(curated.rows) > 20


def test_the_digest_is_that_of_the_file_and_of_the_content_alone(
    sqlite_store: Store, datasets: Datasets, words: Sequence[Judged], tmp_path: Path
) -> None:
    first = dataset.keep(make(Harvest(words)), RULES, datasets, sqlite_store, clock=StoppedClock(5))
    elsewhere = Datasets(tmp_path / "elsewhere")
    shuffled = make(Harvest(words[::-1]))
    assert dataset.keep(shuffled, RULES, elsewhere, sqlite_store, previous="x", clock=StoppedClock(6)) == first
    assert hashlib.sha256((datasets.folder / first / "rows.jsonl").read_bytes()).hexdigest() == first
    other = dataset.keep(make(Harvest(words[1:])), RULES, datasets, sqlite_store)
    assert other != first


def test_the_manifest_accounts_for_every_input(
    sqlite_store: Store, datasets: Datasets, words: Sequence[Judged], clock: StoppedClock
) -> None:
    digest = dataset.keep(make(Harvest(words)), RULES, datasets, sqlite_store, previous="before", clock=clock)
    manifest = orjson.loads((datasets.folder / digest / "manifest.json").read_bytes())
    assert manifest == datasets.manifest(digest)
    assert manifest["digest"] == digest
    assert (manifest["previous"], manifest["created_at"], manifest["method"]) == ("before", clock.at, "sft")
    replayed = manifest["sources"]["base"]
    assert manifest["judgements"] + replayed + sum(manifest["exclusions"].values()) == len(words) + 30
    assert sum(manifest["splits"].values()) == sum(manifest["sources"].values()) == manifest["rows"]
    listed = datasets.exclusions(digest)
    assert len(listed) == sum(manifest["exclusions"].values())
    assert RULES.salt not in orjson.dumps(manifest).decode().split('"')
    with sqlite_store.read() as conn:
        known = lineage.manifest(conn, digest)
    assert known is not None
    assert {**known, "digest": digest} == manifest


def test_lineage_leads_from_answers_to_rows_and_back(
    store: Store, datasets: Datasets, recorded: Sequence[Judged]
) -> None:
    curated = make(harvest(store))
    digest = dataset.keep(curated, RULES, datasets, store)
    with store.read() as conn:
        uses = lineage.of_dataset(conn, digest)
    found = [(use.row, use.feedback, use.interaction, use.actor, use.weight, use.split) for use in uses]
    assert found == [
        (line, voice.feedback, voice.interaction, voice.actor, voice.weight, row.part)
        for line, row in enumerate(curated.rows)
        for voice in sorted(row.provenance.voices, key=lambda voice: voice.feedback)
    ]
    with store.read() as conn:
        for use in uses:
            assert use in lineage.of_interaction(conn, use.interaction)
        assert lineage.of_interaction(conn, "nothing") == []
    # Five users said the same; as many of them as one part may know stand behind one row.
    assert max(sum(use.row == line for use in uses) for line in range(len(curated.rows))) >= 2


def test_the_same_dataset_again_changes_nothing(store: Store, datasets: Datasets, recorded: Sequence[Judged]) -> None:
    curated = make(harvest(store))
    digest = dataset.keep(curated, RULES, datasets, store, clock=StoppedClock(5))
    before = {path: path.read_bytes() for path in datasets.folder.rglob("*.json*")}
    assert dataset.keep(curated, RULES, datasets, store, previous="other", clock=StoppedClock(6)) == digest
    assert {path: path.read_bytes() for path in datasets.folder.rglob("*.json*")} == before
    with store.read() as conn:
        assert lineage.known(conn) == {digest}


# Erasure.


def test_the_datasets_of_a_subject_are_found(store: Store, datasets: Datasets, recorded: Sequence[Judged]) -> None:
    curated = make(harvest(store))
    digest = dataset.keep(curated, RULES, datasets, store)
    half = dataset.keep(
        make(Harvest([word for word in recorded if not word.feedback.actor.startswith("user 3.")])),
        RULES,
        datasets,
        store,
    )
    lines = {
        line
        for line, row in enumerate(curated.rows)
        if any(voice.actor == subject("user 3") for voice in row.provenance.voices)
    }
    assert lines
    assert erasure.touched_by(store, subject("user 3")) == {digest: lines}
    assert set(erasure.touched_by(store, subject("user 4"))) == {digest, half}
    assert erasure.touched_by(store, subject("nobody")) == {}


def test_what_a_subject_said_is_gone_from_the_disk(
    store: Store, datasets: Datasets, recorded: Sequence[Judged]
) -> None:
    curated = make(harvest(store))
    digest = dataset.keep(curated, RULES, datasets, store)
    said = [
        str(word.interaction.messages[0]["content"])
        for word in recorded
        if word.interaction and word.interaction.subject == subject("user 7")
    ]
    path = datasets.folder / digest / "rows.jsonl"
    assert said[0] in path.read_text()
    erase(store, subject("user 7"))
    for _ in range(2):
        assert erasure.forget(datasets, store, subject("user 7")) == [digest]
        text = path.read_text()
        assert not any(words in text for words in said)
        assert len(text.splitlines()) == len(curated.rows)
    with pytest.raises(Conflict, match="rows were erased"):
        dataset.load(datasets, digest)
    with store.read() as conn:
        assert lineage.of_dataset(conn, digest)
    left = harvest(store).judged
    assert all(word.interaction and word.interaction.subject != subject("user 7") for word in left)


def test_a_subject_erased_between_reading_and_keeping_is_not_kept(
    store: Store, datasets: Datasets, recorded: Sequence[Judged]
) -> None:
    curated = make(harvest(store))
    erase(store, subject("user 2"))
    with pytest.raises(Conflict, match="make it again"):
        dataset.keep(curated, RULES, datasets, store)
    assert list(datasets.digests()) == []
    with store.read() as conn:
        assert not lineage.known(conn)
    dataset.keep(make(harvest(store)), RULES, datasets, store)


def test_half_made_folders_go_when_somebody_is_erased(
    sqlite_store: Store, datasets: Datasets, words: Sequence[Judged]
) -> None:
    kept = dataset.keep(make(Harvest(words)), RULES, datasets, sqlite_store)
    orphan = datasets.write([{"messages": "of anybody"}], [], {})
    (datasets.folder / "notes.txt").write_text("ours")
    erasure.forget(datasets, sqlite_store, subject("nobody"))
    assert list(datasets.digests()) == [kept]
    assert orphan != kept
    assert (datasets.folder / "notes.txt").exists()


# Damage.


def test_without_its_manifest_a_dataset_is_none_and_can_be_made_again(
    sqlite_store: Store, datasets: Datasets, words: Sequence[Judged]
) -> None:
    digest = dataset.keep(make(Harvest(words)), RULES, datasets, sqlite_store)
    (datasets.folder / digest / "manifest.json").unlink()
    (datasets.folder / digest / "rows.jsonl").write_text("half")
    with pytest.raises(NotFound):
        dataset.load(datasets, digest)
    assert dataset.keep(make(Harvest(words)), RULES, datasets, sqlite_store) == digest
    assert {row.part for row in dataset.load(datasets, digest)} == set(Part)


def test_a_changed_file_is_refused(sqlite_store: Store, datasets: Datasets, words: Sequence[Judged]) -> None:
    digest = dataset.keep(make(Harvest(words)), RULES, datasets, sqlite_store)
    path = datasets.folder / digest / "rows.jsonl"
    path.write_bytes(path.read_bytes().replace(b"user", b"evil", 1))
    with pytest.raises(Conflict, match="was changed"):
        dataset.load(datasets, digest)


@pytest.mark.parametrize("digest", ["", "..", "../secret", "A" * 64, "0" * 63, "0" * 64])
def test_only_a_digest_names_a_dataset(datasets: Datasets, digest: str) -> None:
    for read in (datasets.rows, datasets.manifest, datasets.exclusions):
        with pytest.raises(NotFound):
            read(digest)
