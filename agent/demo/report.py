"""The report of a demo as one HTML page: what came of it in a sentence, charts, evidence, how to go on. Pure."""

from collections.abc import Iterator, Sequence

from agent.demo import axes, charts, page
from agent.demo.charts import Bar, Estimate, Mark, Point, Span
from agent.demo.record import Act, Batch, Look, Measured, Moment, Record, Sign

WINDOW, LEAST = 3.0, 12
"""Seconds and answers at least behind each point of the curve of satisfaction."""
KINDS = {Sign.DRIFT: "alarm", Sign.PROMOTED: "good", Sign.BACK: "alarm", Sign.AGAIN: "good"}
QUIET = (Act.STOP,)


def report(record: Record) -> str:
    """The whole page."""
    return page.page("Hone: what the demo showed", _sections(record))


def headline(record: Record) -> str:
    """What came of it, in one sentence."""
    if not record.promoted:
        return f"Nothing was promoted: {record.ending or 'the demo ended before that'}."
    gains = [_gain(measured) for measured in reversed(record.measured) if measured.after is not None]
    return (
        f"In {axes.duration(record.seconds)} Hone noticed new questions, retrained and replaced its own model: "
        f"{', '.join(gains) or 'its held-back questions were not asked'}."
    )


def _gain(measured: Measured) -> str:
    return f"from {measured.before} to {measured.after} right on {measured.phase} questions"


def _sections(record: Record) -> Iterator[str]:
    yield page.paragraph("Hone demo", "over")
    yield page.title(headline(record))
    yield page.paragraph(
        "Everything below was measured on a real Hone: a real engine, real training, real tests at the product's own "
        "levels of error. Only the customers are simulated, and the waiting is shortened; what was changed for that is "
        "listed at the end."
    )
    yield page.tiles(_tiles(record))
    yield from _before_after(record)
    yield from _acts(record)
    yield from _satisfaction(record)
    yield from _training(record)
    yield from _comparisons(record)
    yield from _evidence(record)
    yield from _profile(record)
    yield from _going_on(record)


def _tiles(record: Record) -> Iterator[tuple[str, str]]:
    yield axes.duration(record.seconds), "from nothing to the end"
    yield f"{record.asked:,}", "customers' questions answered"
    yield str(record.failed), "failed requests"
    if record.promotion_seconds is not None:
        yield f"{record.promotion_seconds:.2f} s", "from consent to every gateway"
    if record.rollback_seconds is not None:
        yield f"{record.rollback_seconds:.2f} s", "to roll back"


def _before_after(record: Record) -> Iterator[str]:
    rows = [bar for measured in record.measured for bar in _bars(measured)]
    if not rows:
        return
    yield page.heading("Before and after")
    yield page.paragraph(
        "Questions that were never played as traffic, asked of whoever was champion at the time. "
        "The whiskers are 95 % Wilson intervals."
    )
    described = "; ".join(f"{bar.label} {bar.share:.1%}, {bar.low:.1%} to {bar.high:.1%}" for bar in rows)
    chart = charts.bars("Held-back questions answered right", described, rows)
    yield page.figure(chart, page.table(("phase", "when", "asked", "right", "share", "95 % interval"), _shares(record)))


def _bars(measured: Measured) -> Iterator[Bar]:
    for when, share in (("before", measured.before), ("after", measured.after)):
        if share is not None and share.rate is not None:
            interval = share.interval
            yield Bar(f"{measured.phase}, {when}", share.rate, interval.low, interval.high, when)


def _shares(record: Record) -> Iterator[Sequence[str]]:
    for measured in record.measured:
        for when, share in (("before", measured.before), ("after", measured.after)):
            if share is not None:
                interval = f"{share.interval.low:.1%} to {share.interval.high:.1%}"
                yield measured.phase, when, str(share.n), str(share.right), str(share), interval


def _acts(record: Record) -> Iterator[str]:
    rows = [
        Span(scene.act, scene.start, scene.end if scene.end is not None else record.seconds)
        for scene in record.scenes
        if scene.act not in QUIET
    ]
    yield page.heading("The acts")
    described = "; ".join(f"{row.label} from {row.start:.0f} s to {row.end:.0f} s" for row in rows)
    chart = charts.spans("The acts of the demo", described, rows)
    told = [
        (str(scene.act), axes.duration((scene.end or record.seconds) - scene.start), scene.says)
        for scene in record.scenes
    ]
    yield page.figure(chart)
    yield page.table(("act", "took", "what came of it"), told)


def _satisfaction(record: Record) -> Iterator[str]:
    points = windows(record.batches)
    if len(points) < 2:
        return
    yield page.heading("How content the customers were")
    yield page.paragraph(
        f"Thumbs up among the answers of {WINDOW:.0f} seconds or more, {LEAST} at least. From the shift on customers "
        "also ask what nobody taught the model."
    )
    marks = [Mark(moment.at, number, KINDS.get(moment.sign, "")) for number, moment in enumerate(record.moments, 1)]
    end = max(record.seconds, points[-1].x)
    chart = charts.curve(
        "Thumbs up over time", _told(record.moments), axes.seconds(0.0, end), axes.shares(), points, marks
    )
    beside = page.numbered((f"{moment.sign}, {axes.duration(moment.at)}.", moment.says) for moment in record.moments)
    numbers = page.table(("second", "thumbs up"), [(f"{p.x:.0f}", f"{p.y:.0%}") for p in points], "plain")
    yield page.figure(chart, numbers, beside)


def windows(batches: Sequence[Batch], width: float = WINDOW, least: int = LEAST) -> list[Point]:
    """The share of right answers in stretches of time that are `width` seconds long and hold `least` answers."""
    points: list[Point] = []
    start, asked, right = 0.0, 0, 0
    for batch in batches:
        start = start if asked else batch.at
        asked, right = asked + batch.asked, right + batch.right
        if asked >= least and batch.at - start >= width:
            points.append(Point((start + batch.at) / 2, right / asked))
            asked = right = 0
    return points


def _told(moments: Sequence[Moment]) -> str:
    return "; ".join(f"{moment.sign} at {moment.at:.0f} s" for moment in moments)


def _training(record: Record) -> Iterator[str]:
    losses = record.losses
    if len(losses) < 2:
        return
    yield page.heading("The training")
    x, y = axes.counts(losses[-1].step), axes.around([loss.loss for loss in losses])
    described = (
        f"From {losses[0].loss:.3g} at step {losses[0].step} to {losses[-1].loss:.3g} at step {losses[-1].step}."
    )
    chart = charts.curve("Training loss over steps", described, x, y, [Point(loss.step, loss.loss) for loss in losses])
    numbers = page.table(("step", "loss"), [(str(loss.step), f"{loss.loss:.4g}") for loss in losses], "plain")
    yield page.figure(chart, numbers, page.paragraph(described, "dim"))


def _comparisons(record: Record) -> Iterator[str]:
    rows = [Estimate(each.where, each.estimate, each.low, each.high) for each in record.compared]
    if rows:
        yield page.heading("Candidate minus champion")
        yield page.paragraph(
            "Shares of right answers, and in the A/B test thumbs up less thumbs down an answer; 0 being no difference. "
            "The intervals of shadow and A/B test stay valid however often one looks; in the A/B test each customer "
            "counts once."
        )
        described = "; ".join(f"{row.label} {row.value:+.3f}, {row.low:+.3f} to {row.high:+.3f}" for row in rows)
        told = [
            (each.where, str(each.units), f"{each.estimate:+.3f}", f"{each.low:+.3f} to {each.high:+.3f}")
            for each in record.compared
        ]
        chart = charts.estimates("How much better the candidate is", described, rows)
        yield page.figure(chart, page.table(("where", "pairs or subjects", "estimate", "interval"), told))
    if len(record.ab) > 1:
        yield page.heading("The looks at the A/B test")
        yield _looks("A/B test", record.ab)


def _looks(stage: str, looks: Sequence[Look]) -> str:
    points = [Point(look.at, look.estimate, look.low, look.high) for look in looks]
    y = axes.around([value for look in looks for value in (look.low, look.high)])
    described = "; ".join(f"at {look.at:.0f} s {_estimate(look)}" for look in (looks[0], looks[-1]))
    x = axes.seconds(looks[0].at, looks[-1].at)
    chart = charts.curve(f"Estimate and interval over the looks of the {stage}", described, x, y, points)
    rows = [(f"{k.at:.0f}", str(k.subjects), f"{k.estimate:+.3f}", f"{k.low:+.3f} to {k.high:+.3f}") for k in looks]
    return page.figure(chart, page.table(("second", "subjects", "estimate", "interval"), rows))


def _estimate(look: Look) -> str:
    return f"{look.estimate:+.3f} ({look.low:+.3f} to {look.high:+.3f})"


def _evidence(record: Record) -> Iterator[str]:
    if not record.controls:
        return
    yield page.heading("The evidence")
    frozen = f" Frozen under the digest {record.evidence_digest}." if record.evidence_digest else ""
    asked = f" The run was asked for by {record.requester}." if record.requester else ""
    yield page.paragraph(f"What each control of each gate said of {record.candidate}.{asked}{frozen}")
    rows = [(control.stage, control.name, control.ruling, control.says) for control in record.controls]
    yield page.table(("stage", "control", "ruling", "why"), rows)


def _profile(record: Record) -> Iterator[str]:
    yield page.heading("What the demo changed")
    yield page.paragraph(
        "Cadences, least exposures and the ramp, so that weeks pass in minutes, and whose words train. "
        "No alpha, no margin and no test."
    )
    rows = [(change.name, str(change.default), str(change.value), change.why) for change in record.changes]
    yield page.table(("setting", "default", "here", "why"), rows)


def _going_on(record: Record) -> Iterator[str]:
    yield page.heading("Going on from here")
    champion = f" with {record.champion} as champion" if record.champion else ""
    yield page.paragraph(f"The data of this demo is a whole Hone; it goes on{champion}, under the default settings:")
    yield page.code(f"HONE_DATA={record.data} hone up")
    yield page.paragraph(
        "While it runs, `hone models list`, `hone experiments list` and `hone audit verify` show the rest."
    )
