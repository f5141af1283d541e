"""What a run attends to in one short passage, without reading its text: for its report."""

from __future__ import annotations

from aeattn.analysis.results import Maps
from aeattn.runs.folder import RunFolder

TOKENS = 40  # of a passage at most


def passage_maps(run: RunFolder, text: str) -> Maps | None:
    """Attention weights on the beginning of a text; None where it is shorter than two tokens.

    Raises InputError where the run cannot be read.
    """
    # here, so that a report of a run without weights needs no PyTorch
    from aeattn.analysis.heads import passage_maps as maps_of
    from aeattn.runs.load import load_model

    config, tokenizer = run.read_config(), run.read_tokenizer()
    ids = tokenizer.encode(text)[: min(TOKENS, config.model.context)]
    if len(ids) < 2:
        return None
    return maps_of(load_model(run, config.model), tokenizer, ids)
