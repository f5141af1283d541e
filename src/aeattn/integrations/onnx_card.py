"""The card of a folder for onnxruntime: what the graph takes and gives, and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aeattn.config.run import RunConfig
from aeattn.files import Json
from aeattn.integrations.onnx_model import Slot
from aeattn.nn.size import size
from aeattn.version import VERSION

_CARD = """# {name}

A language model of {parameters} parameters whose queries, keys and values pass through a bottleneck, trained and
exported with aeattn {version}. `model.onnx` reads a prompt and every next token; of each token it keeps {kept}
numbers. Weights: {weights}.

    pip install {packages}
    python generate.py "once upon a time" --new 200

`generate.py` can be imported, too, and shows in some lines how the graph is fed:

```python
from pathlib import Path
from generate import Model

print(Model(Path(".")).generate(["once upon a time"], new=200)[0])
```

## Inputs and outputs

| input | output | shape | holds |
|---|---|---|---|
| `input_ids` | | (batch, time), int64 | new tokens |
| `attention_mask` | | (batch, past + time), int64 | 1 for every token so far, 0 for padding on the left |
| | `logits` | (batch, time, {vocabulary}), float32 | |
{cache}

All other inputs are float32; before the first token they are zeros, with `past` of 0. The outputs beside them are
the inputs of the next call. `config.json` says the same for programs. The graph knows {context} positions: beyond
them onnxruntime stops with an error.

## Losses

{losses}

{normalised}
"""


@dataclass(frozen=True)
class Measured:
    """Losses in nats a character over texts: of the run, and of what was exported from it."""

    texts: tuple[str, ...]
    chars: int
    run_nats_per_char: float
    nats_per_char: float


def card(
    name: str, config: RunConfig, metrics: Sequence[Json], slots: Sequence[Slot], int8: bool,
    measured: Measured | None,
) -> str:  # fmt: skip
    """The card in Markdown; `metrics` are the lines of the run."""
    subwords = config.data.tokenizer not in ("char", "bytes")
    return _CARD.format(
        name=name, version=VERSION, parameters=f"{size(config.model).parameters:,}",
        kept=f"{sum(sum(s.holds.values()) for s in slots if not s.is_conv):,}",
        weights="matrices of 8 bits, the rest float32" if int8 else "float32",
        packages="onnxruntime numpy" + (" tokenizers" if subwords else ""),
        vocabulary=f"{config.model.vocab_size:,}", context=f"{config.model.context:,}",
        cache="\n".join(map(_row, slots)), losses=_losses(metrics, int8, measured), normalised=_normalised(config),
    )  # fmt: skip


def _row(slot: Slot) -> str:
    holds = ", ".join(f"{name} ({width})" for name, width in slot.holds.items())
    return f"| `{slot.past}` | `{slot.present}` | ({', '.join(map(str, slot.shape))}) | {holds} |"


def _losses(metrics: Sequence[Json], int8: bool, measured: Measured | None) -> str:
    trained = [line["valid_nats"] for line in metrics if line.get("valid_nats") is not None]
    lines = [f"The run's last validation: {trained[-1]:.4f} nats/char."] if trained else []
    if measured is not None:
        cost = measured.nats_per_char - measured.run_nats_per_char
        texts = ", ".join(f"`{text}`" for text in measured.texts[:5]) + (", ..." if measured.texts[5:] else "")
        lines.append(
            f"Over {measured.chars:,} characters of {texts}: the run {measured.run_nats_per_char:.4f}, this "
            f"folder {measured.nats_per_char:.4f} nats/char, a difference of {cost:+.4f}."
        )
    elif int8:
        lines.append("What 8 bits cost was not measured: `aeattn export --measure TEXT` does.")
    return " ".join(lines) or "Not measured."


def _normalised(config: RunConfig) -> str:
    options = [f"`{name}`" for name, value in config.data.text.to_dict().items() if value not in (False, None)]
    if not options:
        return "Prompts are read as they are."
    return f"Training text was normalised ({', '.join(options)}); `generate.py` takes prompts as they are given."
