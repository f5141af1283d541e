"""A trained model together with its tokenizer: text in, text out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from aeattn.config.model import CacheKind
from aeattn.config.text import TextOptions
from aeattn.data.text import normalise_text
from aeattn.data.tokenizer import Tokenizer
from aeattn.generation.engine import EngineKind, fast_engine, pick
from aeattn.generation.torch_engine import SimpleEngine, evaluating
from aeattn.generation.writer import Options, Writer, Writing, check_vocabulary, read_prompt
from aeattn.nn.transformer import LanguageModel


class TextModel(nn.Module):
    """A language model with `.tokenizer`, `.generate(...)`, `.stream(...)`, `.write(...)` and `.logits(ids)`.

    `engine` and `cache` say how it writes: `generation/engine.py`, `nn/cache.py`.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        options: TextOptions,
        *,
        engine: EngineKind = "auto",
        cache: CacheKind = "auto",
    ) -> None:
        super().__init__()
        check_vocabulary(model.config, tokenizer)
        self.model, self.tokenizer, self.options = model.eval(), tokenizer, options
        self.engine, self.cache = engine, cache

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(ids)
        return logits

    @torch.inference_mode()
    def logits(self, ids: Tensor) -> Tensor:
        """Logits (B, T, V), or (T, V) for ids (T,), in evaluation mode."""
        batch = ids if ids.dim() == 2 else ids.unsqueeze(0)
        with evaluating(self.model):
            logits: Tensor = self.model(batch.to(self._device))
        return logits if ids.dim() == 2 else logits[0]

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def writer(self) -> Writer:
        """What writes, with the weights as they are now."""
        on_cpu = self._device.type == "cpu" and next(self.model.parameters()).dtype == torch.float32
        if pick(self.engine, on_cpu, self.model.config) == "simple":
            return Writer(SimpleEngine(self.model, self.cache), self.tokenizer, self.options)
        weights = {name: t.detach().numpy() for name, t in self.model.state_dict().items()}
        return Writer(fast_engine(self.model.config, weights, self.cache), self.tokenizer, self.options)

    def read_prompt(self, prompt: str) -> str:
        """The prompt as the model's texts were normalised. Raises InputError for what it cannot read."""
        return read_prompt(prompt, self.tokenizer, self.options)

    def write(self, prompts: Sequence[str], *, chars: int | None = None, **options: Unpack[Options]) -> Writing:
        """Go on after many prompts at once: an iterator over lists of one string a prompt (`Writer.write`)."""
        return self.writer().write(prompts, chars=chars, **options)

    def stream(self, prompt: str = "", *, chars: int | None = None, **options: Unpack[Options]) -> Iterator[str]:
        """New characters one by one, without the prompt; endless where `chars` is None."""
        writing = self.write([prompt], chars=chars, **options)
        return (character for pieces in writing for character in pieces[0])

    def generate(self, prompt: str = "", *, chars: int = 500, **options: Unpack[Options]) -> str:
        """The prompt and `chars` new characters: fewer where a string of `stop` comes first."""
        return self.read_prompt(prompt) + "".join(self.stream(prompt, chars=chars, **options))

    def encode(self, text: str, unknown: Counter[str] | None = None) -> Tensor:
        """Ids (T,) of a text, normalised as the model's texts were; unknown characters are counted."""
        ids = self.tokenizer.encode(normalise_text(text, self.options), unknown)
        return torch.from_numpy(ids.astype("int64"))
