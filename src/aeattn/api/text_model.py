"""A trained model together with its tokenizer: text in, and text, losses or attention out.

Shapes: B batch, T time, L layers, H heads, V vocabulary.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import torch
from torch import Tensor, nn

from aeattn.analysis.heads import weight_maps
from aeattn.api.attention_maps import AttentionMaps
from aeattn.config.generation import DEFAULTS, EngineKind
from aeattn.config.model import CacheKind, ModelConfig
from aeattn.config.shown import rows_html
from aeattn.config.text import TextOptions
from aeattn.data.corpora import Document, documents_to_evaluate
from aeattn.data.text import normalise_text
from aeattn.data.tokenizer import Ids, Tokenizer
from aeattn.errors import InputError
from aeattn.generation.model_writer import model_writer
from aeattn.generation.torch_engine import evaluating
from aeattn.generation.writer import Options, Writer, Writing, check_vocabulary, read_prompt, text_of
from aeattn.nn.size import Size, size, use_latent_cache
from aeattn.nn.transformer import LanguageModel
from aeattn.training.evaluate import evaluate_texts

Prompt = str | Tensor | Sequence[int] | Ids
Per = Literal["char", "byte", "token"]


class TextModel(nn.Module):
    """A language model with its tokenizer, as `aeattn.train` and `aeattn.load` return it.

        model = aeattn.load("runs/mine")
        model.generate("The ", chars=200)            # text
        model.loss("The king was dead.")             # nats a character
        model.logits("The king")                     # (T, V)
        model.attention("The king").plot()           # a picture

    It is a `torch.nn.Module` of ids (B, T) to logits (B, T, V). Texts are normalised as those that it was trained
    on. In a notebook it shows what it is.

    Stable: all methods and the attributes below.

    Attributes:
        model: The `LanguageModel`, whose weights can be trained on.
        tokenizer: Text to ids and back.
        options: How texts are normalised.
        engine: What generates (`aeattn.load`).
        cache: What is kept of the past while generating (`aeattn.load`).
        run: The run folder, or None.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        options: TextOptions,
        *,
        engine: EngineKind = DEFAULTS.engine,
        cache: CacheKind = DEFAULTS.cache,
        anywhere: bool = False,
        run: Path | None = None,
    ) -> None:
        super().__init__()
        check_vocabulary(model.config, tokenizer)
        self.model, self.tokenizer, self.options = model.eval(), tokenizer, options
        self.engine, self.cache, self.run = engine, cache, run
        self._anywhere = anywhere  # the compiled engine may write, though the weights are on another device

    @property
    def config(self) -> ModelConfig:
        """What determines the model."""
        return self.model.config

    @property
    def size(self) -> Size:
        """Parameters, FLOPs and cache bytes of the model."""
        return size(self.config)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids (B, T) to logits (B, T, V), with gradients. T is at most the context."""
        logits: Tensor = self.model(ids)
        return logits

    # -- text ----------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: Prompt = "",
        *,
        chars: int = DEFAULTS.chars,
        temperature: float = DEFAULTS.temperature,
        top_k: int | None = DEFAULTS.top_k,
        top_p: float | None = DEFAULTS.top_p,
        seed: int = DEFAULTS.seed,
        stop: Sequence[str] = DEFAULTS.stop,
    ) -> str:
        """The prompt and new text after it. Its defaults are those of `aeattn generate`.

        Args:
            prompt: A text, or ids (T,) of one, of any length: the newest ones, as many as the context has, are
                read. Nothing begins as after a line break, if the vocabulary has one.
            chars: How many new characters.
            temperature: 0 takes the likeliest each time; 1 samples from the model's own distribution.
            top_k: Sample from so many of the likeliest tokens alone.
            top_p: Sample from the likeliest tokens alone whose probability together reaches this.
            seed: Of what is sampled: the same seed gives the same text, whatever the engine and the cache.
            stop: End before the first of these texts.

        Returns:
            The prompt, normalised, and `chars` new characters, fewer where a text of `stop` comes first.

        Raises:
            InputError: A prompt with characters or ids that the vocabulary does not have, or values that cannot
                be.
        """
        return self.writer().generate(
            _prompt(prompt), chars=chars, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, stop=stop
        )

    def stream(
        self, prompt: Prompt = "", *, chars: int | None = None, **options: Unpack[Options]
    ) -> Iterator[str]:
        """New characters one by one, without the prompt, as they are sampled.

            for character in model.stream("The ", chars=300):
                print(character, end="")

        Args:
            prompt: As for `generate`.
            chars: How many; endless where it is None.
            **options: `temperature`, `top_k`, `top_p`, `seed` and `stop` of `generate`.

        Returns:
            An iterator over characters.

        Raises:
            InputError: As `generate`.
        """
        writing = self.write([prompt], chars=chars, **options)
        return (character for pieces in writing for character in pieces[0])

    def write(self, prompts: Sequence[Prompt], *, chars: int | None = None, **options: Unpack[Options]) -> Writing:
        """Generate after many prompts at once.

        Args:
            prompts: Each as for `generate`.
            chars: How many new characters each; endless where it is None.
            **options: `temperature`, `top_k`, `top_p`, `seed` and `stop` of `generate`.

        Returns:
            An iterator over lists of one string a prompt, each several characters long, or empty. Its
                `cache_bytes` are those that the caches take.

        Raises:
            InputError: As `generate`.
        """
        return self.writer().write(list(map(_prompt, prompts)), chars=chars, **options)

    def writer(self) -> Writer:
        """What generates, with the weights as they are now."""
        return model_writer(
            self.model, self.tokenizer, self.options, self.engine, self.cache, anywhere=self._anywhere
        )

    def read_prompt(self, prompt: str) -> str:
        """The prompt as the model's texts were normalised. Raises InputError for what it cannot read."""
        return read_prompt(prompt, self.tokenizer, self.options)

    def encode(self, text: str, unknown: Counter[str] | None = None) -> Tensor:
        """A text as ids.

        Args:
            text: Normalised as the model's texts were, before it is read.
            unknown: Gains how often each character occurs that the vocabulary does not have.

        Returns:
            Ids (T,), int64; characters that are not known are read as one substitute.
        """
        ids = self.tokenizer.encode(normalise_text(text_of(text), self.options), unknown)
        return torch.from_numpy(ids.astype("int64"))

    # -- what it computes ------------------------------------------------------------------------------------

    @torch.no_grad()
    def logits(self, text: Prompt) -> Tensor:
        """What the model says of the token after each: the softmax of the logits are its probabilities.

        Args:
            text: A text, ids (T,) or ids (B, T); T is from 1 to the context.

        Returns:
            Logits (T, V), or (B, T, V) for ids (B, T), float32 or wider, on the model's device, computed in
                evaluation mode and without gradients. Those at position t are of the token that follows position
                t.

        Raises:
            InputError: Characters or ids that the vocabulary does not have.
            ValueError: Ids of another shape, or more than the context.
        """
        ids = self._ids(text)
        with evaluating(self.model):
            logits: Tensor = self.model(ids if ids.dim() == 2 else ids[None])
        return logits if ids.dim() == 2 else logits[0]

    def loss(self, text: str | os.PathLike[str], *, per: Per = "char", stride: int | None = None) -> float:
        """How badly the model predicts a text, in nats: the lower the better.

        It is the figure that `aeattn evaluate` gives for the same text: the negative log-likelihood of all tokens
        but the first, in neighbouring windows of the context's length, by the number of characters or bytes.
        Characters that the vocabulary does not have are read as one substitute, with a warning.

        Args:
            text: A text; or a path (`pathlib.Path`) of a file or folder of texts, read as `aeattn evaluate` reads
                it.
            per: `char`, `byte` (of UTF-8) or `token`.
            stride: Rather than neighbouring windows, such as move on by so many tokens, so that each prediction
                sees at least context - stride tokens, if there are as many. Slower, and lower.

        Returns:
            Nats a character, byte or token; divided by ln 2, bits.

        Raises:
            InputError: A text of fewer than two characters, or a stride that is not from 1 to the context.
        """
        if per not in ("char", "byte", "token"):
            raise InputError(f"per is {per!r}: choose char, byte or token")
        context = self.config.context
        if stride is not None and not 1 <= stride <= context:
            raise InputError(f"stride is {stride}: choose from 1 to the context, {context}")
        documents = (
            (Document("text", text=text),)
            if isinstance(text, str)
            else documents_to_evaluate([os.fspath(text)], self.options)
        )
        unknown: Counter[str] = Counter()
        score = evaluate_texts(self.model, documents, self.options, context, self.tokenizer, stride, unknown)
        if unknown:
            shown = " ".join(map(repr, list(unknown)[:10]))
            warnings.warn(
                f"{unknown.total():,} characters unknown to the model were read as {self.tokenizer.substitute!r}: "
                f"{shown}",
                stacklevel=2,
            )
        nats = {"char": score.nats_per_char, "byte": score.nats_per_byte, "token": score.nats_per_token}[per]
        if nats is None:
            raise InputError("nothing to evaluate: give a text of at least 2 characters")
        return nats

    @torch.no_grad()
    def attention(self, text: Prompt) -> AttentionMaps:
        """What each head looks at while the model reads a short text.

        Args:
            text: A text, or ids (T,), of from 1 to the context's number of tokens.

        Returns:
            Weights (L, H, T, T) with the tokens' texts; they show themselves in a notebook, and `.plot()` draws
            them.

        Raises:
            InputError: Characters that the vocabulary does not have, no text, or one longer than the context.
        """
        ids = self._ids(text)
        if ids.dim() != 1 or not 1 <= len(ids) <= self.config.context:
            most = self.config.context
            raise InputError(f"the text has {ids.numel():,} tokens: give from 1 to the context, {most}")
        tokens = tuple(self.tokenizer.decode([index]) for index in ids.tolist())
        with evaluating(self.model):
            weights = weight_maps(self.model, ids)
        return AttentionMaps(
            tokens, weights.clone()
        )  # made in inference mode, and an ordinary tensor from here on

    def _ids(self, text: Prompt) -> Tensor:
        """On the model's device. Raises InputError for characters that are not known."""
        given = _prompt(text)
        ids = self.tokenizer.encode(self.read_prompt(given), strict=True) if isinstance(given, str) else given
        most = self.config.vocab_size - 1
        if ids.size and not 0 <= ids.min() <= ids.max() <= most:
            raise InputError(f"ids are whole numbers from 0 to {most}: encode the text anew")
        return torch.from_numpy(ids.astype("int64")).to(next(self.model.parameters()).device)

    # -- how it shows itself -----------------------------------------------------------------------------------

    def _facts(self) -> dict[str, Any]:
        config, found = self.config, self.size
        device = next(self.model.parameters()).device
        kinds = "/".join(dict.fromkeys(str(getattr(config, role)) for role in ("query", "key", "value")))
        codes = self._writes_codes()
        cache = found.latent_cache_bytes if codes else found.cache_bytes
        return {
            "parameters": f"{found.parameters:,}",
            "model": f"{config.n_layers} layers, {config.n_heads} heads, width {config.d_model}, {kinds}, "
            f"bottleneck {config.bottleneck}",
            "context": f"{config.context:,} tokens",
            "vocabulary size": f"{config.vocab_size:,}",
            "KV cache": f"{cache:,} bytes a token ({'codes' if codes else 'keys and values'})",
            "device": str(device),
            **({} if self.run is None else {"run": str(self.run)}),
        }

    def _writes_codes(self) -> bool:
        """Whether the cache of what generates holds codes."""
        try:
            return use_latent_cache(self.config, self.cache)
        except ValueError:
            return False

    def __repr__(self) -> str:
        facts = self._facts()
        where = f", run {facts['run']}" if "run" in facts else ""
        return (
            f"TextModel({facts['parameters']} parameters; {facts['model']}; context {self.config.context}, "
            f"vocabulary size {facts['vocabulary size']}; {facts['device']}{where})"
        )

    def _repr_html_(self) -> str:
        return rows_html("TextModel", self._facts().items())


def _prompt(prompt: Prompt) -> str | Ids:
    """A text, or ids as an array. Raises InputError for anything else."""
    if isinstance(prompt, str):
        return prompt
    try:
        ids = prompt.cpu().numpy() if isinstance(prompt, Tensor) else np.asarray(prompt)
    except (TypeError, ValueError, RuntimeError):  # on no device, sparse, ragged
        ids = np.asarray(None)
    if np.issubdtype(ids.dtype, np.integer):
        return ids
    if isinstance(prompt, Sequence) and not prompt:
        return np.asarray([], int)
    raise InputError(f"{repr(prompt)[:100]} is neither a text nor ids, which are whole numbers: give one of them")
