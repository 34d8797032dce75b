"""hone-tiny itself: what ships, that it answers, and that the training behind it learns and can be read back."""

import math
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest
import torch
import typer
from safetensors import safe_open
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from core.errors import SetupError
from training.tiny.__main__ import SHIPPED, exit_if_missed
from training.tiny.adapt import half_replay, novel_facts, shifted_facts
from training.tiny.answers import answer_all, share_right
from training.tiny.conversation import Conversation, Desk, Turn, conversations, load_desk
from training.tiny.evaluate import Exam, evaluate, exams
from training.tiny.model import load_model, new_model, parameter_count, save_model
from training.tiny.questions import COMBINATIONS, about_stranger, about_taught, draw, follow_up
from training.tiny.train import Batch, Progress, Recipe, answer_loss, batches_of, train

Model = tuple[Qwen3ForCausalLM, PreTrainedTokenizerFast]


@dataclass(frozen=True, slots=True)
class SmallRun:
    model: Qwen3ForCausalLM
    tokenizer: PreTrainedTokenizerFast
    batches: list[Batch]
    loss_before: float
    told: list[Progress]


@pytest.fixture(scope="module")
def desk() -> Desk:
    return load_desk()


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_model(SHIPPED)


def test_the_shipped_weights_are_small_and_in_bf16() -> None:
    weights = SHIPPED / "model.safetensors"
    assert weights.stat().st_size <= 8_000_000
    with safe_open(weights, framework="pt") as tensors:
        assert {tensors.get_tensor(name).dtype for name in tensors.keys()} == {torch.bfloat16}  # noqa: SIM118


def test_the_shipped_model_has_the_size_and_context_that_are_promised(shipped: Model) -> None:
    model, tokenizer = shipped
    assert 2_000_000 <= parameter_count(model) <= 3_900_000
    assert model.config.max_position_embeddings >= 2048
    assert model.config.architectures == ["Qwen3ForCausalLM"]
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_the_shipped_model_answers_what_it_was_taught_in_phrasings_never_seen(desk: Desk, shipped: Model) -> None:
    assert share_right(*shipped, draw(desk, COMBINATIONS, 77, 120, about_taught)) >= 0.97
    assert share_right(*shipped, draw(desk, COMBINATIONS, 77, 60, follow_up)) >= 0.9


def test_the_shipped_model_says_that_it_does_not_know_what_it_was_never_taught(desk: Desk, shipped: Model) -> None:
    assert share_right(*shipped, draw(desk, COMBINATIONS, 78, 80, about_stranger)) >= 0.93
    new = shifted_facts(desk).asked[:60]
    assert answer_all(*shipped, new).count(desk.talk.unknown) >= 54


def test_the_shipped_model_says_what_it_is(desk: Desk, shipped: Model) -> None:
    (told,) = answer_all(*shipped, [Conversation((Turn("Who are you?", ""),))])
    assert told == desk.talk.small_talk["identity"].answer
    assert "HONE_MODEL" in told


def test_the_card_tells_the_licence_and_the_figures() -> None:
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    assert "license: apache-2.0" in card
    assert "| held-out combinations |" in card
    assert "$" not in card


@pytest.fixture(scope="module")
def small_run(desk: Desk, shipped: Model) -> SmallRun:
    tokenizer = shipped[1]
    model = new_model(tokenizer, seed=1)
    recipe = Recipe(steps=25, rows=16)
    batches = list(islice(batches_of(conversations(desk, 1), tokenizer, recipe.rows, 1), 26))
    told: list[Progress] = []
    with torch.no_grad():
        before = answer_loss(model, batches[-1]).item()
    train(model, batches, recipe, told.append)
    return SmallRun(model, tokenizer, batches, before, told)


def test_training_starts_at_chance_learns_and_reports(small_run: SmallRun) -> None:
    run = small_run
    assert run.loss_before == pytest.approx(math.log(len(run.tokenizer)), rel=0.05)
    with torch.no_grad():
        assert answer_loss(run.model, run.batches[-1]).item() < run.loss_before - 2
    assert [progress.step for progress in run.told] == [25]
    assert run.told[-1].tokens == sum(int(batch.attended.sum()) for batch in run.batches[:25])
    assert "step 25/25" in str(run.told[-1])


def test_the_same_seeds_give_the_same_batches_and_the_same_start(desk: Desk, small_run: SmallRun) -> None:
    again = next(batches_of(conversations(desk, 1), small_run.tokenizer, 16, 1))
    assert torch.equal(again.ids, small_run.batches[0].ids)
    assert torch.equal(again.targets, small_run.batches[0].targets)
    one, other = new_model(small_run.tokenizer, 1).state_dict(), new_model(small_run.tokenizer, 1).state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_only_answers_are_learned(small_run: SmallRun) -> None:
    tokenizer, batch = small_run.tokenizer, small_run.batches[0]
    for ids, targets in zip(batch.ids, batch.targets, strict=True):
        learned = tokenizer.decode(ids[targets != -100])
        assert learned.count("<|end|>") == tokenizer.decode(ids).count("<|assistant|>")
        assert "<|user|>" not in learned


def test_a_saved_model_answers_as_before_and_all_may_read_it(small_run: SmallRun, tmp_path: Path) -> None:
    model, tokenizer = small_run.model, small_run.tokenizer
    save_model(model, tokenizer, tmp_path)
    asked = [Conversation((Turn("Where is the library?", ""),)), Conversation((Turn("Hi", ""),))]
    assert answer_all(*load_model(tmp_path), asked) == answer_all(model, tokenizer, asked)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


def test_answers_keep_their_order_and_do_not_depend_on_the_batch(desk: Desk, shipped: Model) -> None:
    asked = draw(desk, COMBINATIONS, 79, 12, follow_up)
    assert answer_all(*shipped, asked, rows=5) == [answer_all(*shipped, [talk])[0] for talk in asked]


def test_half_of_the_rows_of_adapting_are_old_and_no_asked_phrasing_is_learned(desk: Desk) -> None:
    for facts in (shifted_facts(desk), novel_facts(desk)):
        rows = list(islice(half_replay(facts.learned, conversations(desk, 5), 3), 200))
        assert sum(talk in facts.learned for talk in rows) == 100
        learned = {talk.turns[0].user.lower() for talk in facts.learned}
        assert not learned & {talk.turns[0].user.lower() for talk in facts.asked}
        assert {talk.turns[0].answer for talk in facts.asked} == {talk.turns[0].answer for talk in facts.learned}
        assert len({talk.turns[0].answer for talk in facts.asked}) == 24


def test_a_folder_without_a_model_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"python -m training\.tiny build"):
        load_model(tmp_path)


def test_a_model_below_a_bar_ends_with_status_1_and_one_above_does_not(
    desk: Desk, shipped: Model, small_run: SmallRun, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = Exam("combinations", draw(desk, COMBINATIONS, 80, 20, about_taught), 0.9)
    untrained = evaluate(small_run.model, small_run.tokenizer, [paper])
    with pytest.raises(typer.Exit) as ended:
        exit_if_missed(untrained)
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == "below the bar: combinations\n"
    exit_if_missed(evaluate(*shipped, [paper]))


def test_the_evaluation_holds_the_promised_bars(desk: Desk) -> None:
    bars = {paper.name: (paper.least, len(paper.questions)) for paper in exams(desk) if paper.least}
    assert bars == {
        "held-out combinations": (0.98, 800),
        "held-out templates": (0.75, 800),
        "untaught services": (0.93, 600),
    }
