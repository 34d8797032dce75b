"""The report: one page that needs nothing else, tells what happened, and takes no word for markup."""

import re
from html.parser import HTMLParser

from demo_record import record

from agent.demo.record import Batch, Control, Measured, Record, Share
from agent.demo.report import headline, report, windows

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Collects tags and text, and fails on a tag that is closed out of turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(made: Record) -> Reader:
    reader = Reader()
    reader.feed(report(made))
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    text = report(record())
    assert not re.findall(r"(?:https?:)?//(?!www\.w3\.org/2000/svg|127\.0\.0\.1)\S+", text)
    assert not re.search(r"url\(|@import|<script|<link|<iframe|\son\w+=", text)
    assert all("src" not in attributes and "href" not in attributes for _, attributes in read(record()).tags)


def test_it_reads_on_a_phone_in_the_dark_and_on_paper() -> None:
    text = report(record())
    assert 'name="viewport"' in text
    for rule in ("prefers-color-scheme: dark", "max-width: 560px", "@media print"):
        assert rule in text


def test_ids_are_unique_and_every_chart_has_a_title_and_its_numbers_beneath() -> None:
    reader = read(record())
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids)) >= 10
    tags = [tag for tag, _ in reader.tags]
    assert sum(attributes.get("role") == "img" for _, attributes in reader.tags) == 6
    assert tags.count("desc") == 6
    assert tags.count("details") == 5


def test_the_headline_says_in_one_sentence_what_was_gained() -> None:
    said = headline(record())
    assert said == (
        "In 5 min 14 s Hone noticed new questions, retrained and replaced its own model: from 0.0% to 96.6% right on "
        "shifted questions, from 99.6% to 99.1% right on ordinary questions."
    )


def test_without_a_promotion_the_headline_says_why() -> None:
    assert headline(record(promoted=False)).startswith("Nothing was promoted: the A/B test went on for 300 s")
    assert "rolled back" not in "".join(read(Record("d", "s")).text)


def test_everything_that_people_look_for_is_told() -> None:
    made = record()
    text = " ".join(read(made).text)
    wanted = [str(moment.sign) for moment in made.moments] + [control.says for control in made.controls]
    wanted += [change.name for change in made.changes] + [str(scene.act) for scene in made.scenes]
    wanted += [made.evidence_digest, "HONE_DATA=/tmp/demo/data hone up", "+0.331", "system:worse", "No alpha"]
    assert [word for word in wanted if word not in text] == []


def test_no_word_of_others_becomes_markup() -> None:
    made, nasty = record(), '</td><script>alert("x")</script>&'
    made.measured.append(Measured(nasty, Share(3, 1), Share(3, 2)))
    made.controls.append(Control(nasty, nasty, nasty, nasty))
    made.data = made.ending = made.candidate = nasty
    text = report(made)
    assert "<script" not in text
    assert nasty in "".join(read(made).text)


def test_a_demo_that_ended_at_its_start_still_gets_a_page() -> None:
    text = " ".join(read(Record("/tmp/demo/data", "rows.jsonl")).text)
    assert "Nothing was promoted" in text


def test_a_point_of_the_curve_has_enough_answers_behind_it() -> None:
    batches = [Batch(10.0, 8, 8), Batch(12.0, 8, 4), Batch(20.0, 1, 0), Batch(30.0, 0, 0), Batch(60.0, 11, 5)]
    points = windows(batches, width=2.0, least=12)
    assert [(point.x, point.y) for point in points] == [(11.0, 0.75), (40.0, 5 / 12)]
