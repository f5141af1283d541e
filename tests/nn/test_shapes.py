"""The shapes of weights in closed form are those of the model."""

from __future__ import annotations

import pytest
import torch

from aeattn import LanguageModel
from aeattn.nn.shapes import weight_shapes
from tests.conftest import VARIANTS, tiny_config


@pytest.mark.parametrize("name", VARIANTS)
def test_shapes_equal_those_of_the_module(name: str) -> None:
    config = tiny_config(**VARIANTS[name])
    with torch.device("meta"):
        model = LanguageModel(config)
    assert weight_shapes(config) == {name: tuple(t.shape) for name, t in model.state_dict().items()}
