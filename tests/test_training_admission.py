"""What a run must find before it starts: enough rows, a rank that can be served, memory and disk."""

from dataclasses import replace
from pathlib import Path

import pytest
from fixtures_serving import write_model

from core.errors import SetupError
from serving import base as bases
from serving.base import Base
from training import admission, recipes
from training.admission import COPIES, FP32, GIB, RUNTIME, SLACK, UNLIMITED, Room
from training.material import Count, Least
from training.rows import Exclusion, Method, Reason

LEAST = Least(120, 3)
SFT = recipes.sft(1_000_000, 200, 16)
MEMINFO = "MemTotal:       24000000 kB\nMemFree:          100000 kB\nMemAvailable:    2097152 kB\n"


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return bases.resolve(str(write_model(tmp_path / "model")))


def group(folder: Path, limit: str, used: int, cached: int) -> Path:
    """The files of a container's memory."""
    folder.mkdir()
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\n")
    return folder


@pytest.mark.parametrize(
    ("rows", "topics", "says"),
    [
        (37, 2, "37 of 120 usable rows over 2 of 3 topics; gather more ratings, or lower training.min_rows."),
        (200, 2, "200 of 120 usable rows over 2 of 3 topics; gather more ratings, or lower training.min_topics."),
    ],
)
def test_too_little_is_refused_with_what_to_do(rows: int, topics: int, says: str) -> None:
    with pytest.raises(SetupError) as refused:
        admission.check_rows(Count(Method.SFT, rows, topics), LEAST, [])
    assert refused.value.message == says


def test_the_most_frequent_reason_for_leaving_out_is_named() -> None:
    left = [Exclusion("feedback", str(n), Reason.POLICY if n else Reason.EMPTY) for n in range(5)]
    with pytest.raises(SetupError, match=r"5 more were left out, 4 of them for this: training\.may_train does not"):
        admission.check_rows(Count(Method.SFT, 1, 1), LEAST, left)


def test_just_enough_is_enough() -> None:
    admission.check_rows(Count(Method.SFT, 120, 3), LEAST, [])


def test_a_rank_above_the_engine_s_is_refused_before_anything_is_trained() -> None:
    admission.check_rank(replace(SFT, rank=16), 16)
    with pytest.raises(SetupError, match=r"recipe\.rank is 17, and the engine takes ranks up to 16"):
        admission.check_rank(replace(SFT, rank=17), 16)


def test_missing_memory_is_named_with_what_is_free() -> None:
    with pytest.raises(
        SetupError, match=r"needs about 3\.0 GiB of memory, and 2\.0 GiB are free;.*training\.memory_gib"
    ):
        admission.check_room(Room(3 * GIB, 0), Room(2 * GIB, 0))


def test_a_full_disk_is_named_with_what_is_free() -> None:
    with pytest.raises(SetupError, match=r"needs 3\.0 GiB on the disk.*and 1\.0 GiB are free; make room"):
        admission.check_room(Room(0, 3 * GIB), Room(GIB, GIB))


def test_what_is_there_exactly_is_enough() -> None:
    admission.check_room(Room(5, 5), Room(5, 5))


def test_the_disk_that_is_needed_follows_the_rank(base: Base) -> None:
    one, two = (admission.needs(base, replace(SFT, rank=rank), 100) for rank in (1, 2))
    assert two.disk - SLACK == 2 * (one.disk - SLACK) > 0


def test_the_memory_that_is_needed_follows_what_is_computed_at_once(base: Base) -> None:
    def memory(longest: int = 200, **changes: object) -> int:
        return admission.needs(base, replace(SFT, **changes), longest).memory - RUNTIME  # type: ignore[arg-type]

    assert memory(longest=400) > memory() > COPIES * FP32 * admission.parameters(base)
    assert memory(accumulation=4) < memory()
    assert memory(recompute=True) < memory()
    assert memory(method=Method.DPO) > memory()
    assert memory(longest=10**6) == memory(longest=10**7)


def test_hone_tiny_s_estimate_is_near_what_was_measured() -> None:
    base = bases.resolve("hone-tiny")
    # 32 rows of at most 50 characters took 899 MiB, with 200 characters 1,613 MiB.
    assert 899 <= admission.needs(base, SFT, 50).memory / 2**20 < 1400
    assert 1613 <= admission.needs(base, SFT, 200).memory / 2**20 < 2200


def test_the_weights_are_counted_from_the_files(base: Base) -> None:
    layer = 8 * 8 + 4 * 8 + 4 * 8 + 8 * 8 + 16 * 8 + 16 * 8 + 8 * 16
    assert admission.parameters(base) == 2 * layer + 32 * 8 + 8


def test_the_setting_overrides_the_estimate(base: Base) -> None:
    assert admission.needs(base, SFT, 100, 7.5).memory == 7.5 * GIB


def test_free_memory_is_what_the_kernel_says_is_available(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    assert admission.free(tmp_path, tmp_path / "meminfo", tmp_path / "none").memory == 2 * GIB


def test_the_limit_of_a_container_counts_if_it_is_lower(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO)
    tight = group(tmp_path / "tight", str(GIB), GIB // 2, GIB // 4)
    assert admission.free(tmp_path, tmp_path / "meminfo", tight).memory == GIB - GIB // 2 + GIB // 4
    wide = group(tmp_path / "wide", str(64 * GIB), 0, 0)
    assert admission.free(tmp_path, tmp_path / "meminfo", wide).memory == 2 * GIB
    without = group(tmp_path / "without", "max", 0, 0)
    assert admission.free(tmp_path, tmp_path / "meminfo", without).memory == 2 * GIB


def test_where_nobody_says_what_is_free_nothing_is_refused_for_it(tmp_path: Path) -> None:
    assert admission.free(tmp_path, tmp_path / "none", tmp_path / "none").memory == UNLIMITED


def test_this_machine_says_what_it_has(tmp_path: Path) -> None:
    room = admission.free(tmp_path)
    assert 0 < room.memory < UNLIMITED
    assert room.disk > 0
