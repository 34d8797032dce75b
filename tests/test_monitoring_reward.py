"""The learned judge: it learns what people liked, has no sense of place, and says nothing with too few words."""

from collections.abc import Sequence
from random import Random

import numpy as np
import pytest

from core.decoys import NOT_KNOWING
from core.types import JsonObject
from monitoring.shadow import reward
from monitoring.shadow.judge import Choice
from monitoring.shadow.reward import Label, Reward

TOPICS = ("ferry", "library", "museum", "bakery", "harbour", "market", "school", "garden")
ASPECTS = ("opening hours", "price", "address", "phone number", "parking")


def question(topic: str, aspect: str) -> str:
    return f"What is the {aspect} of the {topic}?"


def right(topic: str, aspect: str) -> str:
    return f"The {aspect} of the {topic} is {len(topic) * 7 + len(aspect)}."


def wrong(topic: str, rng: Random) -> str:
    return rng.choice((NOT_KNOWING, f"I am not sure about the {topic}.", "Please ask somebody else."))


def labels(number: int, seed: int = 0, topics: Sequence[str] = TOPICS, noise: float = 0.1) -> list[Label]:
    """People who like right answers, with some noise."""
    rng, found = Random(seed), []
    for n in range(number):
        topic, aspect = rng.choice(topics), rng.choice(ASPECTS)
        good = rng.random() < 0.6
        said = right(topic, aspect) if good else wrong(topic, rng)
        found.append(Label(question(topic, aspect), said, good != (rng.random() < noise), f"actor-{n}"))
    return found


def asked(topic: str, aspect: str) -> Sequence[JsonObject]:
    return [{"role": "system", "content": "Be kind."}, {"role": "user", "content": question(topic, aspect)}]


@pytest.fixture(scope="module")
def judge() -> Reward:
    found = reward.fit(labels(400), 200)
    assert found is not None
    return found


async def test_a_right_answer_beats_a_wrong_one_and_places_do_not_matter(judge: Reward) -> None:
    rng = Random(1)
    for topic in TOPICS:
        good, bad = right(topic, "price"), wrong(topic, rng)
        assert await judge.compare(asked(topic, "price"), good, bad) is Choice.FIRST
        assert await judge.compare(asked(topic, "price"), bad, good) is Choice.SECOND
        assert await judge.compare(asked(topic, "price"), good, good) is Choice.NEITHER


async def test_an_answer_to_another_question_is_not_liked_as_much(judge: Reward) -> None:
    won = [
        await judge.compare(asked(topic, "price"), right(topic, "price"), right(other, "address")) is Choice.FIRST
        for topic in TOPICS
        for other in TOPICS
        if other != topic
    ]
    assert np.mean(won) > 0.9


async def test_marks_are_probabilities_that_follow_the_likes(judge: Reward) -> None:
    marks = [await judge.rate(asked(topic, "price"), right(topic, "price")) for topic in TOPICS]
    poor = [await judge.rate(asked(topic, "price"), NOT_KNOWING) for topic in TOPICS]
    assert all(mark is not None and 0.7 < mark <= 1 for mark in marks)
    assert all(mark is not None and 0 <= mark < 0.3 for mark in poor)


def test_too_few_words_or_words_of_one_kind_teach_nothing() -> None:
    assert reward.fit(labels(199), 200) is None
    assert reward.fit([label for label in labels(800) if label.liked], 200) is None
    assert reward.fit([], 50) is None


def test_people_who_all_ask_the_same_teach_as_well() -> None:
    asked = question("ferry", "price")
    same = [Label(asked, "It is 7." if n % 2 else "No idea.", n % 2 == 1, f"a{n}") for n in range(100)]
    found = reward.fit(same, 50)
    assert found is not None and found.score(asked, "It is 7.") > 0 > found.score(asked, "No idea.")


def test_labels_do_not_recall_themselves() -> None:
    rng = Random(3)
    nonsense = [Label(f"{rng.random()}", f"{rng.random()}", rng.random() < 0.5, f"a{n}") for n in range(300)]
    found = reward.fit(nonsense, 200)
    assert found is not None
    memory = found.memory
    own = memory.recall(memory.questions, memory.answers, [np.arange(300)])
    assert np.abs(own).mean() < 0.2 < np.abs(memory.recall(memory.questions, memory.answers)).mean()


def test_one_busy_person_does_not_decide_for_all() -> None:
    """One person who dislikes what is right, three hundred times, against two hundred who like it."""
    crowd = [Label(question(t, "price"), right(t, "price"), True, f"p{n}") for n, t in enumerate(TOPICS * 25)]
    crowd += [Label(question(t, "price"), NOT_KNOWING, False, f"q{n}") for n, t in enumerate(TOPICS * 5)]
    busy = [Label(question(t, "price"), right(t, "price"), False, "one") for t in TOPICS * 38]
    found = reward.fit([*crowd, *busy], 200)
    assert found is not None
    assert found.score(question("ferry", "price"), right("ferry", "price")) > 0


def test_fitting_the_most_that_is_learned_from_takes_seconds() -> None:
    found = reward.fit(labels(reward.MOST + 500, noise=0.2), 200)
    assert found is not None and found.memory.words.shape == (reward.MOST,)
