"""A trained model together with its characters: text in, text out."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from aeattn.data.text import TextOptions, normalise_text
from aeattn.data.tokenizer import CharTokenizer
from aeattn.errors import InputError
from aeattn.generation.engine import decode
from aeattn.generation.sampling import SamplingRule
from aeattn.nn.transformer import LanguageModel


class TextModel(nn.Module):
    """A language model with `.tokenizer`, `.generate(...)`, `.stream(...)` and `.logits(ids)`."""

    def __init__(self, model: LanguageModel, tokenizer: CharTokenizer, options: TextOptions) -> None:
        super().__init__()
        if model.config.vocab_size != tokenizer.vocab_size:
            raise InputError(
                f"tokenizer.json has {tokenizer.vocab_size} characters, config.json {model.config.vocab_size}: "
                "the run folder is damaged, restore it"
            )
        self.model, self.tokenizer, self.options = model.eval(), tokenizer, options

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.model(ids)
        return logits

    @torch.inference_mode()
    def logits(self, ids: Tensor) -> Tensor:
        """Logits (B, T, V), or (T, V) for ids (T,), in evaluation mode."""
        batch = ids if ids.dim() == 2 else ids.unsqueeze(0)
        logits: Tensor = self.model(batch.to(self._device))
        return logits if ids.dim() == 2 else logits[0]

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def read_prompt(self, prompt: str) -> str:
        """The prompt as the model's texts were normalised. Raises InputError for what it cannot read."""
        text = normalise_text(prompt, replace(self.options, keep=None, unwrap=False))
        self.tokenizer.encode(text, strict=True)
        return text

    def stream(
        self,
        prompt: str = "",
        *,
        chars: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """New characters one by one, without the prompt; endless where `chars` is None.

        An empty prompt starts as after a line break, if the vocabulary has one, else after its first
        character. Raises InputError for a prompt or a rule that cannot be.
        """
        rows = self.stream_rows(
            prompt, 1, chars=chars, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed
        )
        return (row[0] for row in rows)

    def stream_rows(
        self,
        prompt: str,
        samples: int,
        *,
        chars: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[str]:
        """The same for several samples of one prompt at once: a string of one character a sample."""
        if samples < 1 or (chars is not None and chars < 0):
            raise InputError(f"{samples} samples of {chars} characters: choose at least 1 sample, 0 characters")
        rule = SamplingRule(temperature, top_k, top_p)
        text = self.read_prompt(prompt) or self._start()
        ids = torch.from_numpy(self.tokenizer.encode(text).astype("int64")).to(self._device)
        rows = decode(self.model, ids.expand(samples, -1), rule, seed)
        return (self.tokenizer.decode(row.cpu().numpy()) for row in itertools.islice(rows, chars))

    def generate(
        self,
        prompt: str = "",
        *,
        chars: int = 500,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> str:
        """The prompt and `chars` new characters."""
        new = self.stream(prompt, chars=chars, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
        return self.read_prompt(prompt) + "".join(new)

    def cache_bytes(self, samples: int = 1) -> int:
        """Bytes that the cache takes while `samples` passages are written."""
        cache = self.model.new_cache()
        with torch.inference_mode():
            self.model(torch.zeros(samples, 1, dtype=torch.long, device=self._device), cache)
        return cache.bytes

    def _start(self) -> str:
        return "\n" if "\n" in self.tokenizer.characters else self.tokenizer.characters[0]

    def encode(self, text: str, unknown: Counter[str] | None = None) -> Tensor:
        """Ids (T,) of a text, normalised as the model's texts were; unknown characters are counted."""
        ids = self.tokenizer.encode(normalise_text(text, self.options), unknown)
        return torch.from_numpy(ids.astype("int64"))
