"""The model card of an exported folder: what the model is, what it was trained on, and what it is not."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from aeattn.config.run import RunConfig
from aeattn.files import Json
from aeattn.nn.size import size
from aeattn.version import VERSION

_CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags:
- aeattn
- autoencoder-attention
- latent-kv-cache
---

# {name}

A language model of {parameters} parameters whose queries, keys and values pass through a bottleneck, trained with
aeattn {version} (`pip install autoencoder-attention`).

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("FOLDER", trust_remote_code=True)
tokenizer = AutoTokenizer.from_pretrained("FOLDER", trust_remote_code=True)
inputs = tokenizer("Once upon a time", return_tensors="pt")
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=100, do_sample=True)[0]))
```

The folder holds the code of the model: it needs PyTorch and transformers 5.23 or later, not aeattn.

## Data

{data}

## Training

{training}

## Losses

{losses}

## The model

{model}

In the cache of transformers a token leaves {kept} numbers, those of the codes, and is never decoded again; beside
them lie the last {inputs} inputs of each layer's short convolutions.

## Limits

- It sees at most {context} tokens. Generation ends there, and longer inputs are refused.
- {tokens}
- It has been trained to continue text like that above: it follows no instructions, states no facts, and repeats
  what its text held, biases included. Nothing has been done to make its output safe.
- Padding belongs on one side of each row.

## Licence

The code is under the MIT licence. The weights carry no licence of their own: whoever publishes them chooses one
that the rights in the text allow.

## How to cite

```bibtex
@software{{aeattn,
  title = {{aeattn: Transformers whose queries, keys and values pass through a bottleneck}},
  author = {{The aeattn authors}},
  version = {{{version}}},
  license = {{MIT}}
}}
```
"""
_TRAINING = (
    "optimizer",
    "learning_rate",
    "schedule",
    "warmup",
    "weight_decay",
    "steps",
    "batch",
    "accumulate",
    "seed",
)
_MODEL = (
    "d_model",
    "n_layers",
    "n_heads",
    "d_ff",
    "query",
    "key",
    "value",
    "bottleneck",
    "positions",
    "conv",
    "context",
)


def card(name: str, config: RunConfig, metrics: Sequence[Json], kept: int) -> str:
    """The card in Markdown; `metrics` are the lines of the run, `kept` the numbers of a token in a cache."""
    model = config.model
    return _CARD.format(
        name=name, version=VERSION, parameters=f"{size(model).parameters:,}", context=f"{model.context:,}",
        data="\n".join(_data(config)), training=_table(config.training.__dict__, _TRAINING),
        losses=_losses(metrics), model=_table(model.to_dict(), _MODEL), kept=f"{kept:,}",
        inputs=sum(max(0, taps - 1) for taps in (model.conv, model.conv_ff)), tokens=_tokens(config),
    )  # fmt: skip


def _data(config: RunConfig) -> Iterator[str]:
    data = config.data
    yield f"- trained on: {', '.join(_last(each) for each in data.corpus) or 'tales, built in'}"
    if data.valid:
        yield f"- validated on: {', '.join(map(_last, data.valid))}"
    if data.recipe:
        yield f"- recipe: `{data.recipe}`"
    yield f"- tokenizer: {_last(data.tokenizer)}, {config.model.vocab_size:,} tokens"
    options = [f"`{name}`" for name, value in data.text.to_dict().items() if value not in (False, None)]
    yield f"- the text was normalised: {', '.join(options) or 'line ends alone'}"


def _last(path: str) -> str:
    """A corpus by its name; of a path the file alone, as the rest is nobody's business."""
    whole = "://" in path or path.startswith("hf:")
    return f"`{path if whole else path.rstrip('/').rpartition('/')[2]}`"


def _tokens(config: RunConfig) -> str:
    if config.data.tokenizer == "char":
        return "It knows the characters of its text alone; any other is read as a space, or as a line end."
    return "Its subwords or bytes can write any text, which does not mean that it has seen such text."


def _losses(metrics: Sequence[Json]) -> str:
    """The last validation of the run: one run, so no interval."""
    found = [line for line in metrics if line.get("valid_nats") is not None]
    if not found:
        return "The run has no validation."
    last = found[-1]
    nats = last["valid_nats"]
    rows = [("a character", nats)]
    if last.get("valid_bytes") and last.get("valid_chars"):
        rows.append(("a byte", nats * last["valid_chars"] / last["valid_bytes"]))
    lines = "\n".join(f"| {what} | {loss:.4f} | {loss / math.log(2):.4f} |" for what, loss in rows)
    step = last.get("step")
    return (
        f"On the validation text after {step:,} updates, of one run, so without an interval:\n\n"
        f"| | nats | bits |\n|---|---|---|\n{lines}"
    )


def _table(values: Json, names: Sequence[str]) -> str:
    rows = [f"| {name} | {_shown(values[name])} |" for name in names if values.get(name) is not None]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _shown(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
