"""Shared by all tests: small models, a tiny corpus, one thread, no cache outside the test's own folder.

PyTorch is imported where it is needed: the process that hands tests out to others does without.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aeattn.config.model import ModelConfig

if TYPE_CHECKING:
    from aeattn.nn.transformer import LanguageModel

EXAMPLES = 25 if os.environ.get("AEATTN_FAULTS") == "full" else 10  # of a property


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return
    import torch
    from hypothesis import HealthCheck, settings

    suppressed = [HealthCheck.function_scoped_fixture]
    settings.register_profile("aeattn", deadline=None, max_examples=EXAMPLES, suppress_health_check=suppressed)
    settings.load_profile("aeattn")
    torch.set_num_threads(1)  # these models are too small for more, and threads that wait spin


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What compilers made is kept here until the tests end, for all of their processes; with a cache for fixtures
    that serve several tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        use_cache(patch, share(folder, tmp_path_factory.mktemp("shared") / "cache"))
        yield folder


def share(compiled: Path, cache: Path) -> Path:
    """A cache folder with nothing of its own in it but the way to what compilers made."""
    cache.mkdir(exist_ok=True)
    (cache / "compiled").symlink_to(compiled)
    return cache


def use_cache(patch: pytest.MonkeyPatch, cache: Path) -> None:
    patch.setenv("AEATTN_CACHE", str(cache))
    patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache / "compiled"))


@pytest.fixture
def _compiles_anew() -> None:
    """For tests of compiling itself: nothing has been compiled before."""


@pytest.fixture(autouse=True)
def _own_cache(
    request: pytest.FixtureRequest, tmp_path: Path, compiled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path.with_name(f"{tmp_path.name}-cache")  # beside the folder that tests look into
    use_cache(monkeypatch, cache if "_compiles_anew" in request.fixturenames else share(compiled, cache))


@pytest.fixture(autouse=True)
def _all_garbage() -> Iterator[None]:
    """Commands set what their start makes apart from collections until the process ends."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_registries() -> Iterator[None]:
    """What a test registers is gone after it."""
    from aeattn.compare import executors
    from aeattn.config import projections
    from aeattn.data import tokenizer, tokenizer_bpe, tokenizer_bytes, tokenizer_file, tokenizer_gpt2  # noqa: F401
    from aeattn.training import hooks, tracker, trackers  # noqa: F401

    registries: list[dict[str, Any]] = [
        projections._KINDS,
        tokenizer.TOKENIZERS,
        tracker.TRACKERS,
        executors._registered,
    ]
    before, registered = [dict(registry) for registry in registries], list(hooks.REGISTERED)
    yield
    before[-1] |= {name: kind for name, kind in executors._registered.items() if name in executors.BUILT_IN}
    for registry, values in zip(registries, before, strict=True):
        registry.clear()
        registry.update(values)
    hooks.REGISTERED[:] = registered


@pytest.fixture(autouse=True)
def _seeded() -> None:
    import torch

    torch.manual_seed(0)


def tiny_config(**changes: object) -> ModelConfig:
    """A model that takes milliseconds."""
    values: dict[str, object] = {
        "vocab_size": 11,
        "context": 16,
        "d_model": 16,
        "n_layers": 2,
        "n_heads": 2,
        "d_ff": 24,
        "bottleneck": 4,
        "d_rotary": 4,
        "conv": 3,
    }
    return ModelConfig(**{**values, **changes})  # type: ignore[arg-type]


def lively_model(config: ModelConfig, seed: int = 0) -> LanguageModel:
    """A model whose weights are all random: a fresh one has zeros that would hide mistakes."""
    import torch

    from aeattn.nn.transformer import LanguageModel

    generator = torch.Generator().manual_seed(seed)
    model = LanguageModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def past_inputs_numbers(config: ModelConfig) -> int:
    """What convolutions keep of a sequence, over all layers."""
    return config.n_layers * config.d_model * sum(max(0, taps - 1) for taps in (config.conv, config.conv_ff))


VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "linear": {"query": "linear", "key": "linear", "value": "linear"},
    "bottleneck": {"query": "bottleneck", "key": "bottleneck", "value": "bottleneck"},
    "middle": {"middle": True},
    "residual": {"query": "residual", "key": "residual", "value": "residual", "middle": True},
    "mixed": {"query": "linear", "key": ("linear", "autoencoder"), "value": ("bottleneck", "linear")},
    "per_head": {"per_head": True, "n_heads": 3, "middle": True},
    "learned": {"positions": "learned", "norm": "layer", "activation": "gelu", "qk_norm": False, "conv": 0},
    "rotary": {"positions": "rotary"},
    "decoupled": {"positions": "decoupled"},
    "no_positions": {"positions": "none", "tied": True},
    "plain_init": {"zero_init": False, "conv": 1},
    "two_convolutions": {"conv_ff": 4, "gate": True},
    "convolution_of_feed_forward": {"conv": 0, "conv_ff": 2, "key": "deep", "n_kv_heads": 1},
    "dropout": {"dropout": 0.2},
    "shared": {"value": "shared"},
    "shared_per_head": {"value": "shared", "per_head": True, "key": "bottleneck", "positions": "decoupled"},
    "shared_once": {"value": ("shared", "linear"), "qk_norm": False},
    "linear_rotary": {"key": "linear", "positions": "rotary"},
    "narrow": {"bottleneck": 1},
    "grouped": {"n_heads": 4, "n_kv_heads": 2, "bottleneck": 5},
    "multi_query": {"n_kv_heads": 1, "value": ("shared", "linear")},
    "grouped_per_head": {"n_heads": 4, "n_kv_heads": 2, "per_head": True, "middle": True},
    "grouped_decoupled": {"n_heads": 4, "n_kv_heads": 2, "positions": "decoupled", "bottleneck": 3},
    "grouped_rotary": {"n_heads": 4, "n_kv_heads": 2, "positions": "rotary", "value": "residual"},
    "deep": {"query": "linear", "key": "deep", "value": "deep", "n_kv_heads": 1, "d_hidden": 12, "gate": True},
    "deep_autoencoder": {"query": "deep", "key": "deep-autoencoder", "value": "deep-linear", "head_width": 48,
                         "n_heads": 4, "n_kv_heads": 2, "d_hidden": 5, "middle": True},
    "value_embedding": {"n_heads": 4, "n_kv_heads": 2, "value_embedding": True,
                        "value": ("autoencoder", "linear")},
    "latent": {"query": "latent", "key": "latent", "value": "shared", "positions": "decoupled", "qk_norm": False,
               "query_bottleneck": 3},
    "gelu_per_head": {"query": "deep-autoencoder", "key": "gelu", "value": "latent", "per_head": True,
                      "d_hidden": 24, "gate": True},
}  # fmt: skip
