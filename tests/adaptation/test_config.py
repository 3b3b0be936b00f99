"""A configuration holds what concerns it, and refuses what cannot be when it is made."""

import math
from dataclasses import FrozenInstanceError, fields

import pytest

from course_utils.adaptation import PairsConfig, TrainingConfig, TSDAEConfig


def own_options(config):
    return {field.name for field in fields(config)} - {
        field.name for field in fields(TrainingConfig)
    }


def test_each_configuration_holds_only_what_concerns_it():
    assert own_options(TSDAEConfig) == {
        "objective", "decoder", "noise", "rate", "decoder_learning_rate",
    }  # fmt: skip
    assert own_options(PairsConfig) == {"temperature", "distil_weight"}
    assert TSDAEConfig().objective == "denoising"
    assert PairsConfig().objective == "pairs"


def test_the_defaults_for_pairs_are_the_recipe_that_was_measured():
    # The method "recipe" in the stored results, as benchmarks/ladder.py trained it.
    config = PairsConfig()
    assert (config.temperature, config.distil_weight) == (0.07, 30.0)
    assert (config.batch_size, config.learning_rate, config.max_tokens) == (96, 2e-4, 64)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"objective": "rebuild"}, "objective is 'rebuild'; it can be 'denoising' or 'contrast'"),
        ({"decoder": "tied"}, "decoder is 'tied'"),
        ({"noise": "drop"}, "noise is 'drop'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
        ({"max_tokens": 2}, "max_tokens is 2"),
        ({"epochs": True}, "epochs is True"),
        ({"rate": 1.5}, "rate is 1.5"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"decoder_learning_rate": 0}, "decoder_learning_rate is 0"),
        ({"bfloat16": "yes"}, "bfloat16 is 'yes'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options, told):
    with pytest.raises(ValueError, match=told):
        TSDAEConfig(**options)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": 0}, "temperature is 0"),
        ({"distil_weight": -1}, "distil_weight is -1"),
        ({"warmup_share": 2}, "warmup_share is 2"),
    ],
)
def test_an_option_for_pairs_that_cannot_be_is_refused_by_name(options, told):
    with pytest.raises(ValueError, match=told):
        PairsConfig(**options)


@pytest.mark.parametrize("share", [True, False, 1.5, -0.1, math.nan, "best", [0.5]])
def test_interpolate_is_auto_none_or_a_share_and_nothing_that_could_be_taken_for_one(share):
    with pytest.raises(ValueError, match=r'interpolate is .*"auto" .* None .* from 0 to 1'):
        TSDAEConfig(interpolate=share)


def test_configurations_that_mix_in_other_ways_are_not_equal():
    ways = [TSDAEConfig(interpolate=way) for way in ("auto", None, 0, 0.5, 1)]
    assert all((one == other) is (one is other) for one in ways for other in ways)


def test_a_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        PairsConfig().max_steps = 3
