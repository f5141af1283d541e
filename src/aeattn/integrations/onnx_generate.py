"""Text from an exported model, with onnxruntime and NumPy alone.

python generate.py "once upon a time" --new 200
python generate.py "once upon a time" "the king" --new 200 --temperature 0.8 --seed 1

The graph reads new tokens and what it keeps of those before, and gives logits and what is to be kept. Prompts of
different lengths are padded on the left, where the mask is 0. Subwords need the package tokenizers, too.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Model:
    """The files of a folder."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.tokenizer = (folder / "tokenizer.json").read_text(encoding="utf-8")
        self.context = int(self.config["context"])
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        provider = ["CPUExecutionProvider"]
        self.session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=provider)

    def generate(self, prompts: Sequence[str], new: int, temperature: float = 0.0, seed: int = 0) -> list[str]:
        """The prompts, each with `new` tokens after it: the likeliest at a temperature of 0."""
        rows = [self.encode(prompt) or self.encode("\n", strict=False) or [0] for prompt in prompts]
        longest = max(map(len, rows))
        if longest + new > self.context:
            raise ValueError(
                f"{longest} tokens and {new} new ones are more than the context of {self.context}: "
                "give a shorter prompt, or ask for fewer new tokens"
            )
        fresh = np.array([[0] * (longest - len(row)) + row for row in rows], np.int64)
        mask = np.array([[0] * (longest - len(row)) + [1] * len(row) for row in rows], np.int64)
        cache = self.config["cache"]
        sizes = {"batch": len(rows), "past": 0}
        past = [np.zeros([sizes.get(n, n) for n in each["shape"]], np.float32) for each in cache]
        names = ["logits", *(each["output"] for each in cache)]
        draws = np.random.default_rng(seed)
        for _ in range(new):
            given = {each["input"]: kept for each, kept in zip(cache, past, strict=True)}
            logits, *past = self.session.run(names, {"input_ids": fresh, "attention_mask": mask, **given})
            fresh = choose(logits[:, -1], temperature, draws)[:, None]
            mask = np.concatenate([mask, np.ones_like(fresh)], axis=1)
            rows = [[*row, int(token)] for row, (token,) in zip(rows, fresh, strict=True)]
        return [self.decode(row) for row in rows]

    def encode(self, text: str, strict: bool = True) -> list[int]:
        values = json.loads(self.tokenizer)
        if values.get("kind") == "characters":
            ids = {character: i for i, character in enumerate(values["characters"])}
            unknown = "".join(sorted(set(text) - set(ids)))
            if unknown and strict:
                raise ValueError(f"characters outside the vocabulary: {unknown!r}; remove or replace them")
            return [] if unknown else [ids[character] for character in text]
        return list(text.encode()) if values.get("kind") == "bytes" else list(self.subwords().encode(text).ids)

    def decode(self, ids: Sequence[int]) -> str:
        values = json.loads(self.tokenizer)
        if values.get("kind") == "characters":
            return "".join(values["characters"][i] for i in ids)
        if values.get("kind") == "bytes":
            return bytes(ids).decode("utf-8", "replace")
        return str(self.subwords().decode(list(ids)))

    def subwords(self) -> Any:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_str(self.tokenizer)
        tokenizer.encode_special_tokens = True  # <|endoftext|> in a text is thirteen characters
        return tokenizer


def choose(logits: Any, temperature: float, draws: Any) -> Any:
    """The next token of each row, (B,), of logits (B, V)."""
    if temperature == 0:
        return logits.argmax(axis=-1)
    scaled = (logits - logits.max(axis=-1, keepdims=True)).astype(np.float64) / temperature
    sums = np.exp(scaled).cumsum(axis=-1)
    return (sums < draws.random((len(sums), 1)) * sums[:, -1:]).sum(axis=-1)


def main() -> int:
    parser = argparse.ArgumentParser(description="Text from an exported model.")
    parser.add_argument("prompts", nargs="+", metavar="PROMPT")
    parser.add_argument("--new", type=int, default=100, metavar="N", help="tokens to generate (default 100)")
    parser.add_argument("--temperature", type=float, default=0.0, metavar="X", help="0 takes the likeliest")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    options = parser.parse_args()
    if options.new < 0 or not 0 <= options.temperature < float("inf"):
        parser.error("--new and --temperature must be 0 or more")
    try:
        model = Model(Path(__file__).parent)
        for text in model.generate(options.prompts, options.new, options.temperature, options.seed):
            print(text)
    except (ValueError, OSError, ImportError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
