"""Datasets: curated rows under a digest, on the disk and in the ledger, so that every row leads back to who made it.

A run names its dataset by the digest; the manifest says what went in, what did not and why, and under which rules.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from core import lineage
from core.clock import Clock, now
from core.datasets import Datasets
from core.errors import Conflict
from core.lineage import Use
from core.store import Store
from core.types import JsonObject
from training.curation import Curated
from training.rows import (
    DpoExample,
    Example,
    Exclusion,
    KtoExample,
    Message,
    Part,
    Provenance,
    Row,
    SftExample,
    Voice,
    record,
)
from training.rules import Rules

FORMAT = 1


def keep(
    curated: Curated,
    rules: Rules,
    datasets: Datasets,
    store: Store,
    *,
    previous: str | None = None,
    clock: Clock = now,
) -> str:
    """Store a dataset and who stands behind its rows; return the digest. The same rows again change nothing.

    Raises Conflict when one of the answers was erased since it was read (make the dataset again), and Unavailable.
    """
    created_at = clock()
    manifest = {"created_at": created_at, "previous": previous, **describe(curated, rules)}
    rows, exclusions = [record(row) for row in curated.rows], [_exclusion(each) for each in curated.exclusions]
    digest = datasets.write(rows, exclusions, manifest)
    uses = list(_uses(digest, curated.rows))
    try:
        with store.write() as conn:
            lineage.record(conn, digest, created_at, manifest, uses)
    except Conflict:
        _discard(digest, datasets, store)
        raise
    # While the ledger did not know it, the erasure of somebody else may have taken the folder for half made.
    return datasets.write(rows, exclusions, manifest)


def load(datasets: Datasets, digest: str) -> list[Row]:
    """The rows of a dataset. Raises NotFound, and Conflict when rows were erased or changed since."""
    return [_row(found) for found in datasets.rows(digest)]


def describe(curated: Curated, rules: Rules) -> JsonObject:
    """The manifest's account of what went in, what did not and why."""
    rows = curated.rows
    hands = Counter(actor for row in rows for actor in {voice.actor for voice in row.provenance.voices})
    return {
        "format": FORMAT,
        "method": curated.method,
        "rows": len(rows),
        "splits": {part.value: sum(row.part is part for row in rows) for part in Part},
        "sources": _counted(row.provenance.source for row in rows),
        "judgements": sum(len(row.provenance.voices) for row in rows),
        "actors": len(hands),
        "largest_actor": max(hands.values(), default=0),
        "labels": _counted(str(row.example.label).lower() for row in rows if isinstance(row.example, KtoExample)),
        "exclusions": _counted(exclusion.reason for exclusion in curated.exclusions),
        "redactions": curated.redactions,
        "rules": _rules(rules),
    }


def _discard(digest: str, datasets: Datasets, store: Store) -> None:
    with store.read() as conn:
        known = lineage.known(conn)
    if digest not in known:
        datasets.remove(digest)


def _uses(digest: str, rows: Sequence[Row]) -> Iterator[Use]:
    for line, row in enumerate(rows):
        for voice in row.provenance.voices:
            yield Use(digest, line, voice.feedback, voice.interaction, voice.actor, voice.weight, row.part)


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(map(str, names)).items()))


def _exclusion(exclusion: Exclusion) -> JsonObject:
    return {
        "source": exclusion.source,
        "item": exclusion.item,
        "reason": exclusion.reason,
        "interaction": exclusion.interaction,
    }


def _rules(rules: Rules) -> JsonObject:
    """The rules but for the salt, which belongs to the install."""
    return {
        "may_train": str(rules.may_train),
        "names": sorted(name for name, metric in rules.names.items() if metric.may_train),
        "reviewer_weight": rules.reviewer_weight,
        "user_share": rules.user_shares.share,
        "user_rows": rules.user_shares.rows,
        "reviewer_share": rules.reviewer_shares.share,
        "reviewer_rows": rules.reviewer_shares.rows,
        "max_characters": rules.max_characters,
        "redact": sorted(rules.redact),
        "near_duplicate": rules.near_duplicate,
        "replay_share": rules.replay_share,
        "replay_rows": rules.replay_rows,
        "validation": rules.validation,
        "heldout": rules.heldout,
    }


def _row(found: Mapping[str, Any]) -> Row:
    provenance = found["provenance"]
    voices = tuple(Voice(**voice) for voice in provenance["voices"])
    return Row(_example(found), Part(found["part"]), Provenance(provenance["source"], voices, provenance["item"]))


def _example(found: Mapping[str, Any]) -> Example:
    messages = tuple(Message(**message) for message in found["messages"])
    if "chosen" in found:
        return DpoExample(messages, found["chosen"], found["rejected"])
    if "label" in found:
        return KtoExample(messages, found["completion"], found["label"])
    return SftExample(messages, found["completion"])
