"""The simple decoding engine: one character at a time through the model and its cache.

Beyond the context. A model sees at most `context` characters. When they are full, the older half is
forgotten: the newest half of the context is read again from the start, and writing goes on. So every
character is predicted from between half a context and a whole one, and each prediction equals that of a full
pass over exactly those characters.

Shapes: B sequences, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from aeattn.generation.sampling import RandomStream, SamplingRule, choose, probabilities
from aeattn.nn.transformer import LanguageModel


class Window:
    """What the model sees: the newest characters of each sequence, and the cache over them."""

    def __init__(self, model: LanguageModel, prompt: Tensor) -> None:
        self.model, self.context = model, model.config.context
        self.ids = prompt[:, -self.context :]
        self.cache = model.new_cache()

    def next_logits(self) -> Tensor:
        """Logits of the character after those seen, (B, V)."""
        fresh = self.ids[:, self.cache.length :]
        logits: Tensor = self.model(fresh, self.cache)
        return logits[:, -1]

    def append(self, ids: Tensor) -> None:
        """Take in one more character a sequence, (B,)."""
        if self.ids.shape[1] == self.context:
            self.ids = self.ids[:, -max(1, self.context // 2) :] if self.context > 1 else self.ids[:, :0]
            self.cache = self.model.new_cache()
        self.ids = torch.cat([self.ids, ids[:, None]], dim=1)


@torch.inference_mode()
def decode(model: LanguageModel, prompt: Tensor, rule: SamplingRule, seed: int) -> Iterator[Tensor]:
    """Endless new ids, (B,) each, after a prompt of ids (B, T), T >= 1. The model must be in eval mode."""
    window, stream = Window(model, prompt), RandomStream(seed, prompt.shape[0])
    while True:
        chances = probabilities(window.next_logits(), rule)
        uniform = torch.from_numpy(stream.draw().copy()).to(chances.device)
        ids = choose(chances, uniform)
        yield ids
        window.append(ids)
