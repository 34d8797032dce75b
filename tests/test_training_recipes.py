import math
from dataclasses import replace

import pytest

from core.errors import BadRequest
from serving.adapters import LINEAR
from training import recipes
from training.recipes import BOUNDS, Recipe, choose, from_json, override
from training.rows import DpoExample, KtoExample, Message, Method, SftExample

ASKED = (Message("user", "when?"),)
HONE_TINY, LARGE, HUGE = 2_423_168, 600_000_000, 8_000_000_000
RECIPES = [
    recipes.sft(HONE_TINY, 600, 16),
    recipes.sft(HUGE, 50_000, 64),
    recipes.kto(LARGE, 30, 90, 16),
    recipes.dpo(HUGE, 400, 8),
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert from_json(recipe.to_json()) == recipe


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_number_of_a_chosen_recipe_lies_within_its_own_bounds(recipe: Recipe) -> None:
    for name, bounds in BOUNDS.items():
        assert bounds.least <= getattr(recipe, name) <= bounds.most


def test_hone_tiny_gets_the_recipe_that_was_measured() -> None:
    recipe = recipes.sft(HONE_TINY, 600, 16)
    assert (recipe.rank, recipe.alpha, recipe.target_modules) == (16, 32, LINEAR)
    assert (recipe.learning_rate, recipe.steps, recipe.batch_rows) == (6e-3, 300, 32)


def test_a_large_base_learns_gently_and_sees_each_row_three_times() -> None:
    recipe = recipes.sft(LARGE, 1600, 16)
    assert recipe.learning_rate == 2e-4
    assert recipe.steps * recipe.batch_rows == 3 * 1600


def test_a_huge_base_computes_a_step_in_parts() -> None:
    recipe = recipes.sft(HUGE, 1600, 16)
    assert recipe.recompute
    assert recipe.accumulation > 1
    assert recipe.batch_rows % recipe.accumulation == 0


@pytest.mark.parametrize("max_rank", [1, 8, 16, 64])
def test_the_engine_limits_the_rank(max_rank: int) -> None:
    assert recipes.sft(LARGE, 100, max_rank).rank == min(16, max_rank)


@pytest.mark.parametrize("rows", [1, 2, 3, 17])
def test_few_rows_make_a_small_batch_of_at_least_two(rows: int) -> None:
    assert 2 <= recipes.sft(HONE_TINY, rows, 16).batch_rows <= max(2, rows)


@pytest.mark.parametrize(("liked", "disliked"), [(10, 90), (90, 10), (50, 50), (1, 400), (41, 40)])
def test_kto_weighs_both_kinds_as_the_method_advises(liked: int, disliked: int) -> None:
    recipe = recipes.kto(HONE_TINY, liked, disliked, 16)
    ratio = recipe.desirable_weight * liked / (recipe.undesirable_weight * disliked)
    assert 1 - 1e-3 <= ratio <= 4 / 3
    assert min(recipe.desirable_weight, recipe.undesirable_weight) >= 1 or math.isclose(liked, disliked, rel_tol=0.15)


def test_kto_with_one_kind_only_is_refused() -> None:
    with pytest.raises(BadRequest, match="no disliked one"):
        recipes.kto(HONE_TINY, 10, 0, 16)


def test_a_method_gets_its_own_recipe_with_the_numbers_of_its_rows() -> None:
    thumbs = [KtoExample(ASKED, "at 9", label) for label in (True, False, False)]
    assert choose(Method.KTO, HONE_TINY, thumbs, 16) == recipes.kto(HONE_TINY, 1, 2, 16)
    assert choose(Method.SFT, LARGE, [SftExample(ASKED, "at 9")] * 9, 16) == recipes.sft(LARGE, 9, 16)
    assert choose(Method.DPO, LARGE, [DpoExample(ASKED, "at 9", "no")] * 9, 16) == recipes.dpo(LARGE, 9, 16)


def test_single_fields_can_be_changed() -> None:
    recipe = recipes.sft(HONE_TINY, 600, 16)
    changed = override(recipe, {"learning_rate": 0.001, "steps": 20, "target_modules": ["q_proj"]})
    assert changed == replace(recipe, learning_rate=0.001, steps=20, target_modules=("q_proj",))


def test_an_unknown_field_is_named_with_its_nearest_neighbour() -> None:
    with pytest.raises(BadRequest, match=r"recipe\.learning_rat is unknown.*learning_rate"):
        override(RECIPES[0], {"learning_rat": 0.1})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0),
        ("rank", 2.5),
        ("rank", True),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("dropout", 1.0),
        ("steps", None),
        ("schedule", "zigzag"),
        ("target_modules", []),
        ("target_modules", ["lm_head"]),
        ("target_modules", "q_proj"),
        ("recompute", 1),
        ("accumulation", 3),
        ("method", "dpo"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(BadRequest) as refused:
        override(RECIPES[0], {field: value})  # type: ignore[dict-item]
    assert refused.value.param == f"recipe.{field}"
    assert field in refused.value.message


def test_kto_needs_several_rows_in_each_part_of_a_step() -> None:
    recipe = recipes.kto(HONE_TINY, 30, 30, 16)
    with pytest.raises(BadRequest, match="compares the rows"):
        override(recipe, {"accumulation": recipe.batch_rows})
    assert override(RECIPES[0], {"accumulation": RECIPES[0].batch_rows}).accumulation == RECIPES[0].batch_rows
