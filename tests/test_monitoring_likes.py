"""What a judge learns from and is tried on: words from before a time, and liked answers that nobody disliked."""

from dataclasses import replace

from customers import OLD, World

from core.settings import Settings
from core.store import Store
from monitoring.shadow import likes
from monitoring.terms import terms

MEASURE = terms(Settings()).measure


def test_words_teach_as_labels_and_a_correction_as_two(sqlite_store: Store) -> None:
    world = World(sqlite_store)
    liked, disliked, corrected, said_again = (world.call(world.newcomer(), "old question 1") for _ in range(4))
    words = [
        world.thumb(liked),
        world.thumb(disliked, value=0.0),
        world.thumb(corrected, value=0.0, correction="It is blue.", actor="rita"),
        world.thumb(said_again, value=1.0, correction="old answer 1"),
    ]
    world.keep([liked, disliked, corrected, said_again], words)
    found = [(label.answer, label.liked) for label in likes.labels(sqlite_store, world.story.time + 1, MEASURE)]
    right = OLD["old question 1"]
    assert found == [(right, True), (right, False), (right, False), ("It is blue.", True), (right, True)]
    without = likes.labels(sqlite_store, world.story.time + 1, MEASURE, {corrected.id, liked.id})
    assert [(label.answer, label.liked) for label in without] == [(right, False), (right, True)]


def test_what_was_said_later_or_taken_back_counts_nowhere(sqlite_store: Store) -> None:
    world = World(sqlite_store)
    before, changed = (world.call(world.newcomer(), f"old question {n}") for n in (1, 2))
    early = [world.thumb(before), world.thumb(changed)]
    world.keep(
        [before, changed], [*early, replace(early[1], id="fb_later", created_at=world.story.time + 5, value=0.0)]
    )
    until = world.story.time + 1
    world.wait(1)
    late = world.call(world.newcomer(), "old question 3")
    world.keep([late], [world.thumb(late)])
    assert [each.interaction for each in likes.liked(sqlite_store, until, MEASURE)] == [before.id]
    assert len(likes.labels(sqlite_store, until, MEASURE)) == 1


def test_a_question_is_tried_once_by_its_newest_liked_answer(sqlite_store: Store) -> None:
    world = World(sqlite_store)
    asked = ("old question 1", "old question 2", "Old question 1!", "old question 3", "new question 1")
    calls = [world.call(world.newcomer(), text) for text in asked]
    disputed = world.thumb(calls[3], value=0.0, actor="somebody else")
    world.keep(
        calls, [*(world.thumb(call, value=1.0) for call in calls[:4]), disputed, world.thumb(calls[4], value=0.0)]
    )
    found = likes.liked(sqlite_store, world.story.time + 1, MEASURE)
    assert [each.interaction for each in found] == [calls[1].id, calls[2].id]
    assert [each.interaction for each in likes.liked(sqlite_store, world.story.time + 1, MEASURE, 1)] == [calls[2].id]
