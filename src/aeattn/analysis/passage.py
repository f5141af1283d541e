"""What a run attends to in one short passage, without reading its text: for its report."""

from __future__ import annotations

from aeattn.analysis.maps import pack
from aeattn.analysis.results import Maps
from aeattn.runs.folder import RunFolder

TOKENS = 40  # of a passage at most


def passage_maps(run: RunFolder, text: str) -> Maps | None:
    """Attention weights on the beginning of a text; None where it is shorter than two tokens.

    Raises InputError where the run cannot be read.
    """
    import torch  # here, so that a report of a run without weights needs no PyTorch

    from aeattn.analysis.heads import weight_maps
    from aeattn.runs.load import load_model

    config, tokenizer = run.read_config(), run.read_tokenizer()
    ids = tokenizer.encode(text)[: min(TOKENS, config.model.context)]
    if len(ids) < 2:
        return None
    weights = weight_maps(load_model(run, config.model), torch.from_numpy(ids.astype("int64")))
    return Maps(tokenizer.decode(ids), pack(weights.numpy()))
