"""An exported graph, run by onnxruntime: to check it against the model that it was made of, and to measure it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aeattn.errors import InputError
from aeattn.integrations.onnx_model import Slot

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
MISSING = "onnx, onnxscript and onnxruntime are needed (%s): pip install 'autoencoder-attention[onnx]'"
ERRORS_ALONE = 3  # of what onnxruntime has to say


def libraries() -> Any:
    """The module `onnxruntime`. Raises InputError where it, or what else an export needs, is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(MISSING % error) from None
    return onnxruntime


class OnnxSession:
    """The graph of a file, and what it keeps."""

    def __init__(self, path: Path, slots: Sequence[Slot]) -> None:
        runtime = libraries()
        options = runtime.SessionOptions()
        options.log_severity_level = ERRORS_ALONE
        options.intra_op_num_threads = torch.get_num_threads()
        self.slots = slots
        self.session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def first(self, batch: int) -> list[Floats]:
        """The past before the first token."""
        return [np.zeros(slot.first(batch), np.float32) for slot in self.slots]

    def __call__(self, ids: Ints, mask: Ints, past: Sequence[Floats]) -> tuple[Floats, list[Floats]]:
        """Logits (B, T, V) of ids (B, T), with a mask (B, P + T) and a past, and the past of the next call."""
        given = {slot.past: each for slot, each in zip(self.slots, past, strict=True)}
        names = ["logits", *(slot.present for slot in self.slots)]
        logits, *present = self.session.run(names, {"input_ids": ids, "attention_mask": mask, **given})
        return logits, present

    def in_pieces(self, ids: Ints, ends: Sequence[int]) -> Floats:
        """Logits (B, T, V) of ids that are read up to each of `ends` in turn."""
        past, found, start = self.first(len(ids)), [], 0
        for end in ends:
            logits, past = self(ids[:, start:end], np.ones((len(ids), end), np.int64), past)
            found.append(logits)
            start = end
        return np.concatenate(found, axis=1)


class OnnxModel(nn.Module):
    """The same for whatever scores a model: ids (B, T) to logits (B, T, V)."""

    def __init__(self, session: OnnxSession) -> None:
        super().__init__()
        self.session = session
        self.on_the_cpu = nn.Parameter(torch.empty(0), requires_grad=False)

    def forward(self, ids: Tensor) -> Tensor:
        return torch.from_numpy(self.session.in_pieces(ids.numpy(), [ids.shape[1]]))
