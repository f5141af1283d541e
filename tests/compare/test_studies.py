"""Optuna's studies agree with the records, whatever was killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import is_current, jobs
from aeattn.compare.records import Record
from aeattn.compare.studies import studies
from aeattn.errors import InputError
from tests.compare.conftest import Declare, done, failed

optuna = pytest.importorskip("optuna")
SEARCH = {"search": "optuna", "trials": 3, "seeds": [11, 12], "space": {"training.learning_rate": [1e-3, 1e-1]}}


def _search(folder: Folder, declaration: Declaration, storage: str | None = None) -> dict[str, Record]:
    """As the runner does it; the second trial fails."""
    keep, records = studies(folder, declaration, storage), dict[str, Record]()
    keep(records)
    while pending := [job for job in jobs(declaration, records) if not is_current(job, records)]:
        for job in pending:
            records[job.name] = failed(job) if job.trial == 1 else done(job, 1.0 + 0.1 * (job.trial or 0))
            keep(records)
    return records


def _there(storage: Any) -> list[list[float | None]]:
    names = optuna.get_all_study_names(storage)
    return [[trial.value for trial in optuna.load_study(study_name=n, storage=storage).trials] for n in names]


def _journal(path: Path) -> Any:
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(path)))


def test_a_journal_in_the_folder_follows_the_records(declare_in: Declare) -> None:
    folder, declaration = declare_in({"tuning": SEARCH})
    records = _search(folder, declaration)
    assert _there(_journal(folder.studies)) == [[1.0, None, 1.2]] * 2
    whole = folder.studies.read_bytes()
    folder.studies.write_bytes(whole[:-30])  # killed while it wrote
    Path(f"{folder.studies}.lock").symlink_to(folder.studies)
    studies(folder, declaration, None)(records)
    assert _there(_journal(folder.studies)) == [[1.0, None, 1.2]] * 2
    folder.studies.unlink()
    studies(folder, declaration, None)(records)
    assert _there(_journal(folder.studies)) == [[1.0, None, 1.2]] * 2


def test_a_file_that_is_no_journal_stays_as_it_is(declare_in: Declare, tmp_path: Path) -> None:
    folder, declaration = declare_in({"tuning": SEARCH})
    notes, lock = tmp_path / "notes.txt", tmp_path / "notes.txt.lock"
    notes.write_text("first\nlast, without a line's end")
    lock.write_text("of another program")
    with pytest.raises(InputError, match=r"notes.txt cannot be opened \(it is no journal"):
        studies(folder, declaration, str(notes))
    assert notes.read_text() == "first\nlast, without a line's end"
    assert lock.exists()


def test_a_database_by_url(declare_in: Declare, tmp_path: Path) -> None:
    folder, declaration = declare_in({"tuning": SEARCH | {"trials": 2, "seeds": [11]}})
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    _search(folder, declaration, url)
    assert _there(url) == [[1.0, None]] * 2
    assert not folder.studies.exists()


@pytest.mark.parametrize(
    ("tuning", "storage", "message"),
    [
        ({}, "sqlite:///a.db", "storage is for what Optuna searches"),
        ({"tuning": SEARCH}, "nonsense://me:secret@host/a", "storage host/a cannot be opened .*: give a URL"),
        ({"tuning": SEARCH}, "/nowhere/a.journal", "storage /nowhere/a.journal cannot be opened"),
    ],
)
def test_a_storage_that_cannot_be(tuning: dict[str, Any], storage: str, message: str, declare_in: Declare) -> None:
    folder, declaration = declare_in(tuning)
    with pytest.raises(InputError, match=message) as caught:
        studies(folder, declaration, storage)
    assert "secret" not in str(caught.value)
