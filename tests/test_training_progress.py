from pathlib import Path

import orjson

from training.progress import EVERY, Point, Progress, Stage


def test_progress_is_written_at_a_new_stage_at_the_end_and_now_and_then(tmp_path: Path) -> None:
    time = [0.0]
    progress = Progress(tmp_path / "p.json", clock=lambda: 7, timer=lambda: time[0])
    written = []
    for step in range(1, 6):
        written.append(progress.tell(Point(Stage.TRAINING, step, 5, loss=float(step))))
        time[0] += EVERY * 0.6
    written.append(progress.tell(Point(Stage.EVALUATING, 0, 9)))
    assert written == [True, False, True, False, True, True]
    assert orjson.loads((tmp_path / "p.json").read_bytes())["at"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["p.json"]
