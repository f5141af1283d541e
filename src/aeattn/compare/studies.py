"""What Optuna searches is kept as its studies, one an arm: in a journal in the comparison's folder, or a database.

The records are what counts. Trials are drawn from them alone (`jobs.suggest`), the same from the same; a study is
made to agree with them whenever one is new, so that a comparison that was killed goes on, and Optuna's tools show
it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aeattn.compare.declaration import Declaration
from aeattn.compare.folder import Folder
from aeattn.compare.jobs import (
    Choice,
    Key,
    Records,
    choices,
    distributions,
    is_current,
    require_optuna,
    tuning_jobs,
)
from aeattn.errors import InputError
from aeattn.files import read_bytes, write

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


_BEGINS = b'{"op_code":'  # a journal of Optuna's


def studies(folder: Folder, declaration: Declaration, storage: str | None) -> Callable[[Records], None]:
    """What keeps the studies as the records are; does nothing where Optuna does not search.

    `storage` is the URL of a database as SQLAlchemy has it, or the path of a journal. Raises InputError for one
    that cannot be opened.
    """
    if declaration.tuning is None or declaration.tuning.search != "optuna":
        if storage is not None:
            raise InputError(
                "storage is for what Optuna searches: write tuning.search = 'optuna', or leave it out"
            )
        return lambda records: None
    require_optuna()
    kept = _open(storage or str(folder.studies))
    known = -1

    def keep(records: Records) -> None:
        nonlocal known
        ended = sum(record.status != "running" for record in records.values() if record.phase == "tune")
        if ended != known:
            _keep(kept, declaration, records)
            known = ended

    return keep


def _open(storage: str) -> BaseStorage:
    import optuna
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if "://" in storage:
            return RDBStorage(storage)
        return JournalStorage(JournalFileBackend(str(_mended(Path(storage)))))
    except Exception as error:  # SQLAlchemy's, its drivers', the file system's: they have nothing in common
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        shown = storage.rpartition("@")[2]  # without the password
        raise InputError(
            f"storage {shown} cannot be opened ({reason}): give a URL such as sqlite:///studies.db, or a path"
        ) from error


def _mended(journal: Path) -> Path:
    """Without what a process that was killed has left: its lock (the folder's is ours), and half a line. Raises
    InputError, and changes nothing, for a file that is no journal."""
    if journal.exists():
        whole = read_bytes(journal, sys.maxsize - 1)
        if not (whole.startswith(_BEGINS) or _BEGINS.startswith(whole)):
            raise InputError("it is no journal of Optuna's")
        if not whole.endswith(b"\n"):
            write(journal, whole[: whole.rfind(b"\n") + 1])
    Path(f"{journal}.lock").unlink(missing_ok=True)
    return journal


def _keep(kept: BaseStorage, declaration: Declaration, records: Records) -> None:
    """Add the trials of which every run has ended, and that are not in their study."""
    found = tuning_jobs(declaration, records)
    for arm, choice in choices(declaration, records).items():
        under_way = {job.trial for job in found if job.arm == arm and not is_current(job, records)}
        _add(kept, declaration, choice, [key for key in sorted(choice.losses) if key not in under_way])


def _add(kept: BaseStorage, declaration: Declaration, choice: Choice, ended: Sequence[Key]) -> None:
    import optuna

    assert declaration.tuning is not None
    name = f"{declaration.name} {declaration.hash[:12]} {choice.arm}"
    study = optuna.create_study(storage=kept, study_name=name, direction="minimize", load_if_exists=True)
    for key in ended[len(study.get_trials(deepcopy=False)) :]:
        loss = choice.means.get(key)
        state = optuna.trial.TrialState.FAIL if loss is None else optuna.trial.TrialState.COMPLETE
        settings, space = dict(choice.tried[key].settings), distributions(declaration.tuning.space)
        study.add_trial(optuna.trial.create_trial(state=state, value=loss, params=settings, distributions=space))
