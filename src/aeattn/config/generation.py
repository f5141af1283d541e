"""How text is generated, as data: what `aeattn generate` and `TextModel.generate` have in common stands once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from aeattn.config.fields import setting
from aeattn.config.model import CacheKind
from aeattn.config.shown import Shown

EngineKind = Literal["auto", "fast", "simple"]
DEVICE = "auto"  # of all that trains or opens a model


@dataclass(frozen=True, repr=False)
class GenerationConfig(Shown):
    """How text is sampled, and by what. Its defaults are those of Python and of the command line."""

    chars: int = setting(500, "new characters", metavar="N", flag=True)
    temperature: float = setting(0.8, "0 is greedy", metavar="X", flag=True)
    top_k: int | None = setting(None, "sample from the N likeliest tokens alone", metavar="N", flag=True)
    top_p: float | None = setting(
        None, "sample from the likeliest tokens that have probability X together", metavar="X", flag=True
    )
    seed: int = setting(0, "seed of what is sampled", metavar="N", flag=True)
    stop: tuple[str, ...] = setting((), "end before this text; may be repeated", metavar="S", flag=True)
    engine: EngineKind = setting("auto", "compiled, or PyTorch", flag=True)
    cache: CacheKind = setting("auto", "what is kept of the past: codes, or keys and values", flag=True)
    device: str = setting(
        DEVICE,
        "auto, cpu, cuda, ...; auto takes the compiled engine where it can be had",
        metavar="NAME",
        flag=True,
    )


DEFAULTS = GenerationConfig()
