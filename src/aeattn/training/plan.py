"""What is to be trained, checked as far as it can be before PyTorch is loaded: bad settings get a quick answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import has_magic
from itertools import count, takewhile
from pathlib import Path

from aeattn.config.run import DataConfig, RunConfig
from aeattn.config.text import TextOptions
from aeattn.data.corpora import NAMES, Corpus, resolve, title_of, unpinned
from aeattn.data.hub import PREFIX, parse
from aeattn.data.tokenizer import file_of, tokenizer_kind
from aeattn.errors import InputError
from aeattn.files import Json
from aeattn.host import YES, named_path
from aeattn.runs.folder import RunFolder
from aeattn.runs.identity import config_changes
from aeattn.training.tracker import check_trackers
from aeattn.training.world import ALONE, World, check_batch


@dataclass(frozen=True)
class Plan:
    """A training before its text has been read, which gives the size of the vocabulary, and how many steps `chars`
    characters are, where so many are asked for."""

    config: RunConfig
    corpus: Corpus
    run: RunFolder
    chars: int | None = None


NAME_BYTES = 100  # of the texts' names in the name of a folder: file systems take 255 in all
Say = Callable[[str], None]


def plan(
    config: RunConfig,
    *,
    out: Path | None = None,
    chars: int | None = None,
    say: Say = lambda _: None,
    world: World = ALONE,
) -> Plan:
    """Find the text of a run and a folder for it, before anything is written. `say` is told of downloads. `chars`
    is how many characters to train on, instead of the config's steps.

    Raises InputError for a folder that holds another run, and where there is no such text.
    """
    world.on_main(lambda: check_trackers(config.track))
    data = located(config.data)
    kind, argument = tokenizer_kind(data.tokenizer)
    kind.check(argument)  # refused before anything is read
    check_batch(config.training.batch, world)
    run = RunFolder(world.on_main(lambda: _checked_folder(out, _name(data, config))))
    data, corpus = _found(data, config.training.seed, say, world)
    data = replace(data, text=corpus.options)
    if out is None and len(_bytes(_texts(data))) > NAME_BYTES:
        say(f"the texts' names are too long for a folder's: the run is in {run.path}")
    return Plan(replace(config, data=data), corpus, run, chars)


def _name(data: DataConfig, config: RunConfig) -> str:
    """Of the folder of a run: after its texts, or the first of them where that is too long."""
    name = _texts(data)
    if len(_bytes(name)) > NAME_BYTES:
        more = f"-and-{len(data.corpus) - 1}-more" if len(data.corpus) > 1 else ""
        name = _bytes(_stem(data.corpus[0]))[: NAME_BYTES - len(more)].decode("utf-8", "ignore") + more
    return f"{name}-{config.preset}"


def _texts(data: DataConfig) -> str:
    return "-".join(map(_stem, data.corpus)) or data.recipe or "tales"


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "replace")


def _checked_folder(out: Path | None, name: str) -> Path:
    path = _free_folder(name) if out is None else out
    RunFolder(path).check_free()
    return path


def begun_before(config: RunConfig, out: Path | None, chars: int | None = None) -> Path | None:
    """The folder where torchrun's processes have begun to train this config before one of them failed, if they had
    come so far. Raises InputError where another run is there."""
    name = _name(located(config.data), config)
    path = _folders(name)[-1] if out is None and _folders(name) else out
    if path is None or not (run := RunFolder(path)).config.exists():
        return None
    settled = (
        "device",
        "precision",
        "compile",
        *(("steps", "minutes", "eval_chars", "sample_every") if chars or config.training.minutes else ()),
    )
    if changes := list(config_changes(_comparable(run.read_config(), settled), _comparable(config, settled))):
        raise InputError(f"{path} holds another run: {'; '.join(changes[:4])}: name another folder with --out")
    return path


def _comparable(config: RunConfig, settled: Sequence[str]) -> Json:
    """What a run settles for itself left out."""
    values = replace(config, data=located(config.data)).to_dict()
    for name in settled:
        del values["training"][name]
    for section, name in (("model", "vocab_size"), ("data", "text")):
        del values[section][name]
    for name in ("corpus", "valid"):
        values["data"][name] = list(map(unpinned, values["data"][name]))
    return json.loads(json.dumps(values))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class ResumePlan:
    """A run that is to go on. `sealed`: its config is as it was written; `accept`: go on whatever has changed;
    `track`: the trackers from now on."""

    run: RunFolder
    config: RunConfig
    corpus: Corpus
    sealed: bool
    steps: int | None
    accept: bool
    track: tuple[str, ...] = ()


def plan_resume(
    path: Path,
    steps: int | None,
    accept: bool,
    say: Say = lambda _: None,
    world: World = ALONE,
    track: Sequence[str] | None = None,
) -> ResumePlan:
    """Lock a run. `track` names trackers in place of those that the run had, `none` none.

    Raises InputError for what is no run folder, where another process is training there, where its text is not to
    be found, and for trackers that cannot be used.
    """
    run = RunFolder(path)

    def locked() -> tuple[RunConfig, bool]:
        check_trackers(_tracked(run.read_config(), track).track)  # and that it is one, before anything else
        if warning := run.lock():
            say(f"warning: {warning}")
        return run.read_sealed_config()

    try:
        config, sealed = world.on_main(locked)
        check_batch(config.training.batch, world)
        corpus = _found(config.data, config.training.seed, say, world)[1]
    except BaseException:
        run.unlock()
        raise
    return ResumePlan(run, config, corpus, sealed, steps, accept, _tracked(config, track).track)


def _tracked(config: RunConfig, track: Sequence[str] | None) -> RunConfig:
    given = () if track is not None and list(track) == ["none"] else track
    return config if given is None else replace(config, track=tuple(given))


def corpus_of(data: DataConfig, seed: int, say: Say = lambda _: None) -> Corpus:
    """The corpus that a config names, fetched if need be. Raises InputError where it is not to be had."""
    corpus = resolve(
        data.corpus,
        valid=data.valid,
        recipe=data.recipe,
        options=None if data.text == TextOptions() else data.text,
        limit_chars=data.limit_chars,
        seed=seed if data.seed is None else data.seed,
        column=data.column,
        rows=data.rows,
        split=data.split,
        progress=say,
    )
    if (limit := data.limit_valid_chars) is None:
        return corpus
    return replace(corpus, valid=tuple(replace(d, limit=limit, floor_nats=None) for d in corpus.valid))


def _found(data: DataConfig, seed: int, say: Say, world: World) -> tuple[DataConfig, Corpus]:
    """The corpus, and the config with the commits that were found for it. Of several processes the main one asks
    the hub, and whoever is there for leave to download: the others read the same commits."""
    if world.size > 1 and any(name == "bookcorpus" or name.startswith(PREFIX) for name in _names(data)):
        found = world.on_main(lambda: dict(corpus_of(data, seed, say).pinned))
        data = pinned(data, found)
        if found and not world.main:
            os.environ[YES] = "1"
    corpus = world.agreed(lambda: corpus_of(data, seed, say))
    return pinned(data, corpus.pinned), corpus


def _names(data: DataConfig) -> tuple[str, ...]:
    return (*data.corpus, *data.valid)


def pinned(data: DataConfig, found: Mapping[str, str]) -> DataConfig:
    """With the commits of data sets that were found for it: it means the same text later."""
    names, valid = (tuple(found.get(name, name) for name in names) for names in (data.corpus, data.valid))
    return replace(data, corpus=names, valid=valid)


def located(data: DataConfig) -> DataConfig:
    """With paths that hold from any folder."""
    corpus, valid = (tuple(map(_from_anywhere, names)) for names in (data.corpus, data.valid))
    file = file_of(data.tokenizer)
    tokenizer = data.tokenizer if file is None else str(file.absolute())
    return replace(data, corpus=corpus, valid=valid, tokenizer=tokenizer)


def _from_anywhere(name: str) -> str:
    """A path that is there, or a pattern, as it is found from any folder: `resume` may be called in another."""
    if name.startswith(PREFIX):
        return str(parse(name))
    path = named_path(name)
    return name if name in NAMES or not (path.exists() or has_magic(name)) else str(path.absolute())


def _stem(name: str) -> str:
    return title_of(name).split(".")[0].strip("*?[]") or "text"


def _free_folder(name: str) -> Path:
    """runs/<name>, or runs/<name>-2 and so on where that is taken."""
    taken = len(_folders(name))
    return Path("runs") / (name if taken == 0 else f"{name}-{taken + 1}")


def _folders(name: str) -> list[Path]:
    """Those of these names that are taken, up to the first that is not."""
    candidates = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in count(1))
    return list(takewhile(Path.exists, candidates))
