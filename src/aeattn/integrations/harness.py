"""Texts as a task for lm-evaluation-harness (docs/evaluation.md): with it, its `bits_per_byte` is
that of `aeattn evaluate --harness`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aeattn import files
from aeattn.config.run import RowsAre
from aeattn.data.corpora import documents_to_evaluate
from aeattn.errors import InputError
from aeattn.runs.folder import RunFolder

TASK = "aeattn_text"
_TEXTS, _YAML = "texts.jsonl", f"{TASK}.yaml"
_TASK = """# lm_eval --model hf --model_args pretrained=FOLDER,trust_remote_code=True \\
#     --include_path {folder} --tasks {task}
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {texts}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: text
metric_list:
  - metric: bits_per_byte
  - metric: byte_perplexity
metadata:
  version: 1.0
"""


def write_task(
    folder: Path,
    run: Path,
    texts: Sequence[str],
    *,
    column: str | None = None,
    rows: RowsAre = "auto",
    split: str | None = None,
) -> None:
    """A folder for `--include_path` with the task `aeattn_text`: the texts, one a line of JSON, normalised as
    those of the run were. Raises InputError for texts that cannot be read, and where something is at `folder`."""
    files.refuse_existing(folder)
    config = RunFolder(run).read_config()
    documents = documents_to_evaluate(
        texts, config.data.text, config.text_seed, column=column, rows=rows, split=split
    )
    lines = (json.dumps({"text": "".join(each.chunks(config.data.text))}) for each in documents)
    place = folder.absolute()
    made = _TASK.format(task=TASK, folder=json.dumps(str(place)), texts=json.dumps(str(place / _TEXTS)))
    try:
        files.replace_folder(
            folder, {_YAML: made.encode(), _TEXTS: "".join(f"{line}\n" for line in lines).encode()}
        )
    except OSError as error:
        raise InputError(f"{folder} cannot be written ({error.strerror}): name another folder") from error
