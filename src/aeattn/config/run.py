"""Everything that determines a run, as frozen dataclasses that round-trip through JSON and TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from aeattn.config.convert import build, nested, overlay
from aeattn.config.fields import require, require_types, setting, to_dict
from aeattn.config.generation import DEVICE
from aeattn.config.model import ModelConfig
from aeattn.config.plugins import load_plugins
from aeattn.config.presets import DEFAULT_PRESET
from aeattn.config.shown import Shown
from aeattn.config.text import TextOptions
from aeattn.errors import InputError
from aeattn.files import Json

OptimizerKind = Literal["muon", "adamw"]
ScheduleKind = Literal["linear", "cosine", "wsd", "constant"]
Precision = Literal["auto", "fp32", "bf16"]
CompileMode = Literal["auto", "on", "off"]
GradientKind = Literal["fp32", "bf16"]
RowsAre = Literal["auto", "texts", "lines"]

BYTE_TOKENS, GPT2_TOKENS = 256, 50_257  # of the tokenizers bytes and gpt2

LONGEST_SAMPLE = 100_000  # characters: a minute or two, in which nothing is learnt

SMOOTHING = 0.98  # of the training loss


@dataclass(frozen=True, repr=False)
class TrainingConfig(Shown):
    """How a model is trained. Raises ValueError, with a mend, for values that cannot be.

    Intervals count updates; 0 means never, and None a tenth of the run. Checkpoints come every `checkpoint_every`
    steps, every `checkpoint_minutes`, or whichever is first; where neither is given, every minute.
    """

    steps: int = setting(5000, "number of updates", metavar="N", flag=True)
    batch: int = setting(16, "windows a micro-batch", metavar="N", flag=True)
    accumulate: int = setting(1, "micro-batches an update", metavar="N", flag=True)
    optimizer: OptimizerKind = setting(
        "muon", "Muon for the matrices inside blocks and AdamW for the rest, or AdamW for all", flag=True
    )
    learning_rate: float = setting(5e-3, "AdamW's learning rate", metavar="X", flag=True)
    matrix_learning_rate: float = setting(2e-2, "Muon's learning rate", metavar="X", flag=True)
    weight_decay: float = setting(0.0, "decoupled weight decay of matrices", metavar="X", flag=True)
    beta1: float = setting(0.9, "AdamW's average of gradients")
    beta2: float = setting(0.95, "AdamW's average of squared gradients")
    momentum: float = setting(0.95, "Muon's momentum")
    clip: float = setting(1.0, "largest norm of AdamW's gradients, 0 for any", metavar="X", flag=True)
    schedule: ScheduleKind = setting("linear", "how learning rates fall after the warm-up", flag=True)
    warmup: float = setting(0.02, "fraction of all steps in which rates rise from zero", metavar="X", flag=True)
    decay: float = setting(1.0, "fraction of all steps in which rates fall")
    final_rate: float = setting(0.0, "fraction of the peak rate that is left at the end")
    seed: int = setting(0, "seed of weights, batches and dropout", metavar="N", flag=True)
    device: str = setting(DEVICE, "auto, cpu, cuda, ...", metavar="NAME", flag=True)
    precision: Precision = setting("auto", "of products; auto takes bf16 where it is faster", flag=True)
    compile: CompileMode = setting("auto", "compile the model; auto does where the run is long enough", flag=True)
    eval_every: int | None = setting(
        None, "updates between evaluations, 0 for never (default: a tenth of the run)", metavar="STEPS", flag=True
    )
    eval_chars: int = setting(100_000, "characters of the validation text that evaluations on the way read")
    sample_every: int | None = setting(
        None, "updates between samples, 0 for never (default: a tenth of the run)", metavar="STEPS", flag=True
    )
    sample_chars: int = setting(200, "characters of a sample")
    minutes: float | None = setting(
        None,
        "as many updates as fit, at the speed of the first ones, so that all of it takes so many minutes",
        metavar="X",
        flag=True,
    )
    checkpoint_every: int | None = setting(
        None,
        "updates between checkpoints, 0 for none but the last (default: by minutes)",
        metavar="STEPS",
        flag=True,
    )
    checkpoint_minutes: float | None = setting(
        None, "minutes between checkpoints (default: 1, unless by steps)", metavar="X", flag=True
    )
    keep_checkpoints: int = setting(2, "how many of the newest checkpoints are kept")
    spike_factor: float = setting(
        0.0, "pass over batches of X times the smoothed loss, 0 for never", metavar="X", flag=True
    )
    spike_every: int = setting(100, "a rollback goes to the last checkpoint of a step that this divides")
    spike_rollbacks: int = setting(10, "how many rollbacks there may be")
    gradients: GradientKind = setting("fp32", "as what several processes send gradients", flag=True, saved=False)
    window: int | None = setting(
        None, "tokens of a training window, where the context is longer", metavar="N", flag=True, saved=False
    )

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("steps", "batch", "accumulate", "keep_checkpoints", "eval_chars", "spike_every"):
            require(1 <= getattr(self, name) < 2**53, name, getattr(self, name), "at least 1, below 2^53")
        intervals = ("eval_every", "sample_every", "checkpoint_every", "checkpoint_minutes")
        for name in (*intervals, "weight_decay", "clip", "spike_rollbacks"):
            value = getattr(self, name)
            require(value is None or 0 <= value < 2**53, name, value, "0 or more, below 2^53")
        chars, factor, minutes, seed = self.sample_chars, self.spike_factor, self.minutes, self.seed
        most = f"at most {LONGEST_SAMPLE:,} (training waits for samples; `aeattn generate` makes longer texts)"
        require(0 <= chars <= LONGEST_SAMPLE, "sample_chars", chars, most)
        require(factor == 0 or 1 < factor < 1e38, "spike_factor", factor, "0 (off), or more than 1")
        require(minutes is None or 0 < minutes < 2**31, "minutes", minutes, "more than 0")
        require(self.window is None or self.window >= 1, "window", self.window, "at least 1, or leave it out")
        for name in ("learning_rate", "matrix_learning_rate"):
            require(0 < getattr(self, name) < 3.4e38, name, getattr(self, name), "more than 0")
        for name in ("warmup", "decay", "final_rate"):
            require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "from 0 to 1")
        for name in ("beta1", "beta2", "momentum"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "from 0 to below 1")
        require(0 <= seed < 2**63, "seed", seed, "from 0 to below 2^63")


@dataclass(frozen=True, repr=False)
class DataConfig(Shown):
    """Which text a run reads: names or paths as `corpora.resolve` takes them."""

    corpus: tuple[str, ...] = setting(
        (),
        "tales (default, unless a recipe names another), books, shakespeare, bookcorpus, hf:NAME, or paths",
        metavar="CORPUS",
    )
    valid: tuple[str, ...] = setting(
        (), "text to validate on (default: the corpus's own, or a tenth of the text)", metavar="PATH", flag=True
    )
    recipe: str | None = setting(
        None, "how to read the text, as books10m (`aeattn presets` lists them)", metavar="NAME", flag=True
    )
    limit_chars: int | None = setting(
        None, "only the first N characters of each training text", metavar="N", flag=True
    )
    text: TextOptions = setting(TextOptions(), "how text is normalised")
    seed: int | None = setting(None, "draws tales and what is split off to validate on (the training's seed)")
    limit_valid_chars: int | None = setting(None, "only so many characters of each text to validate on")
    column: str | None = setting(
        None, "the column of tables that holds the text (guessed)", metavar="NAME", flag=True, saved=False
    )
    rows: RowsAre = setting(
        "auto", "each row of a table is a text, or a line of one text; auto: lines for bookcorpus alone",
        flag=True, saved=False,
    )  # fmt: skip
    split: str | None = setting(
        None, "the split of a data set to train on, or to evaluate on (train; validation or test)", metavar="NAME",
        flag=True, saved=False,
    )  # fmt: skip
    tokenizer: str = setting(
        "char", "how text becomes tokens: char, bytes, bpe:N, gpt2, or a tokenizer.json", metavar="KIND",
        flag=True, saved=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        require_types(self)
        for name in ("corpus", "valid"):
            if not all(getattr(self, name)):
                raise InputError(f"data.{name} has an empty name: name a corpus, a file or a folder")
        for name, least in (("seed", 0), ("limit_chars", 1), ("limit_valid_chars", 2)):
            value = getattr(self, name)
            if value is not None and not least <= value < 2**63:
                raise InputError(f"data.{name} is {value}: choose at least {least}, below 2^63")

    @property
    def vocabulary(self) -> int | None:
        """How many tokens there will be, where that is known before the text is."""
        kind, _, argument = self.tokenizer.partition(":")
        if kind == "bpe" and argument.isascii() and argument.isdigit():
            return int(argument[:9])
        return {"bytes": BYTE_TOKENS, "gpt2": GPT2_TOKENS}.get(self.tokenizer)


@dataclass(frozen=True, repr=False)
class RunConfig(Shown):
    """A whole run, the same from the command line to the trainer: only the size of the vocabulary is filled in
    once the text has been read. `preset` is the name it started from, for the reader; the values are all here."""

    model: ModelConfig = setting(ModelConfig(), "what determines a model")
    training: TrainingConfig = setting(TrainingConfig(), "how it is trained")
    data: DataConfig = setting(DataConfig(), "which text is read")
    preset: str | None = setting(
        None,
        f"model and training settings by name (default {DEFAULT_PRESET}; `aeattn presets` lists them)",
        metavar="NAME",
        flag=True,
    )
    plugins: tuple[str, ...] = setting(
        (), "files or entry points that add projections, tokenizers, hooks", metavar="FILE", flag=True, saved=False
    )
    track: tuple[str, ...] = setting(
        (), "who else is told of metrics and samples: tensorboard, wandb, mlflow, trackio, or NAME:PROJECT",
        metavar="NAME", flag=True, saved=False,
    )  # fmt: skip

    def __post_init__(self) -> None:
        names = [name.strip() for names in self.track for name in names.split(",")]
        object.__setattr__(self, "track", tuple(dict.fromkeys(filter(None, names))))
        self._check_window()

    def _check_window(self) -> None:
        window, model = self.window, self.model
        if window < model.context and model.positions == "learned":
            raise InputError(
                f"training.window is {window:,}, and learned positions from there to the context of "
                f"{model.context:,} would never be trained: choose positions alibi, or leave out the window"
            )

    @property
    def window(self) -> int:
        """Tokens of a training window: `training.window`, at most those of the context."""
        return min(self.training.window or self.model.context, self.model.context)

    @property
    def text_seed(self) -> int:
        """What tales, and texts split off to validate on, are drawn with."""
        return self.training.seed if self.data.seed is None else self.data.seed

    @property
    def tokens_per_step(self) -> int:
        """Tokens that one update trains on."""
        return self.training.batch * self.training.accumulate * self.window

    def with_vocabulary(self, size: int) -> RunConfig:
        """The same run, of a text whose tokenizer has so many tokens."""
        return replace(self, model=replace(self.model, vocab_size=size))

    def with_chars(self, chars: int, chars_per_token: float = 1.0) -> RunConfig:
        """The same run, of as many steps as so many characters are, by the mean length of a token."""
        tokens = chars if chars_per_token == 1 else int(chars / chars_per_token)
        steps = max(1, tokens // self.tokens_per_step)
        return replace(self, training=replace(self.training, steps=steps))

    def changed(self, settings: Mapping[str, Any]) -> RunConfig:
        """With single settings changed, `training.learning_rate` and the like. Raises InputError."""
        values = self.to_dict()
        for name, value in settings.items():
            values = overlay(values, nested(name, value))
        return RunConfig.from_dict(values)

    def to_dict(self) -> Json:
        """A dictionary for JSON; `RunConfig.from_dict` is its inverse."""
        return to_dict(self)

    @classmethod
    def from_dict(cls, values: Json) -> RunConfig:
        """Loads the plug-ins that the config names. Raises InputError for unknown keys, wrong types, impossible
        values, and plug-ins that are not there."""
        if isinstance(names := values.get("plugins"), str | list):
            load_plugins(names)
        return build(cls, values, "config")

    @classmethod
    def from_settings(cls, values: Json) -> RunConfig:
        """The run that a user's settings describe, its text not yet known. Raises InputError as `from_dict` does,
        and for a size of the vocabulary, which is the tokenizer's to say."""
        model = values.get("model", {})
        if isinstance(model, dict) and "vocab_size" in model:
            raise InputError("model: vocab_size comes from the text: leave it out")
        return cls.from_dict(values)


def weight_of_new(step: int) -> float:
    """The share that the loss of an update, counted from 0, has in the smoothed training loss after it: that of a
    plain mean until there are enough losses."""
    return max(1 - SMOOTHING, 1 / (step + 1))
