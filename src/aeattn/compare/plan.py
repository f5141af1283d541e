"""From a spec to what is declared: arms with whole configs, matched and with their steps, written before anything
runs and known by a hash."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.metadata import entry_points
from itertools import product
from pathlib import Path

import msgspec

from aeattn import host
from aeattn.compare.convert import digest, from_json, to_json
from aeattn.compare.declaration import (
    Amendment,
    Declaration,
    ResolvedArm,
    ResolvedContrast,
    Seeds,
    read_declaration,
)
from aeattn.compare.folder import Folder
from aeattn.compare.judged import documents, facts, stores
from aeattn.compare.match import PARAMETERS, Matched, compare_cost, compare_time, flops, match_cost, match_time
from aeattn.compare.records import Text
from aeattn.compare.spec import Arm, Contrast, MatchKind, Spec, Terms
from aeattn.config.plugins import GROUP
from aeattn.config.run import DataConfig, RunConfig
from aeattn.data.store import prepare
from aeattn.errors import InputError
from aeattn.files import sha256_of, write_json
from aeattn.nn.size import size as size_of
from aeattn.runs.identity import config_changes, text_facts
from aeattn.training.plan import corpus_of, located

Say = Callable[[str], None]
Throughput = Callable[[Sequence[RunConfig]], list[float]]  # seconds an update of each, measured turn by turn
IGNORED = "/runs/\n/logs/\n/executor/\n/optuna.journal*\n/stale/*/runs/\n/.lock\n"  # stale records are kept
Key = tuple[str, MatchKind, str | None]  # arm, way of matching, size


@dataclass(frozen=True)
class ReadText:
    """A text that was read: its settings as they were given and as they came out, how many tokens its tokenizer
    has, and the mean length of a token of the training text in characters."""

    given: DataConfig
    data: DataConfig
    vocabulary: int
    chars_per_token: float


def declared(
    spec: Spec, source: Path, folder: Folder, measure: Throughput, say: Say, amend: bool = False
) -> Declaration:
    """The declaration of a folder: what it holds if it was made from this very spec, else made now and written.

    Raises InputError where the folder was declared with another spec, unless told to amend it.
    """
    plugins = sources(spec.plugins)
    given = digest([spec.name, spec.given, *([plugins] if plugins else [])])
    before = read_declaration(folder) if folder.spec.exists() else None
    if before is not None and before.given == given:
        return before
    if before is not None and not amend:
        raise InputError(
            f"{folder.path} holds a comparison that was declared with another spec ({before.hash[:12]}): give "
            "another --out, or --amend to declare it anew, which keeps the records that still fit and is reported"
        )
    if before is None and folder.path.is_dir() and any(p.name != ".lock" for p in folder.path.iterdir()):
        raise InputError(f"{folder.path} holds other files and no spec.json: give another --out")
    declaration = declare(spec.with_texts_at_hand(), given, measure, say)
    declaration = replace(declaration, plugins=plugins, commit=_pin() if spec.pinned else None)
    if before is not None:
        changes = config_changes(_by_id(before), _by_id(declaration))  # a phrase for each
        amendment = Amendment(before.hash, before.declared, tuple(changes))
        declaration = replace(declaration, amended=(*before.amended, amendment))
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.ignore.write_text(IGNORED, encoding="utf-8")
    shutil.copyfile(source, folder.toml)
    write_json(folder.spec, declaration.to_dict())
    return declaration


def _pin() -> str | None:
    """The commit that is to make all runs; None for an installed copy, which has its version."""
    revision = host.revision()
    if revision["dirty"]:
        raise InputError("pinned: the source was changed after its commit: commit it first, or leave `pinned` out")
    commit: str | None = revision["commit"]
    return commit


def sources(plugins: Iterable[str]) -> dict[str, str]:
    """What tells one form of each plug-in from another: the SHA-256 of a file, or the version of its package."""
    return {name: sha256_of(Path(name)) if Path(name).is_file() else _version(name) for name in plugins}


def _version(plugin: str) -> str:
    found = next(iter(entry_points(group=GROUP, name=plugin)))
    return f"{found.dist.name} {found.dist.version}" if found.dist else found.value


def _by_id(declaration: Declaration) -> Mapping[str, object]:
    """What an amendment can change; arms and contrasts by their ids."""
    values = to_json(declaration)
    named = {name: {each.pop("id"): each for each in values.pop(name)} for name in ("arms", "contrasts")}
    apart = ("given", "declared", "amended", "text", "name")
    return {key: value for key, value in (values | named).items() if key not in apart}


def declare(spec: Spec, given: str, measure: Throughput, say: Say) -> Declaration:
    """Read the texts, match the arms, count the steps. Raises InputError where arms cannot be matched."""
    resolver = _Resolver(spec, measure, say)
    arms, ids = resolver.arms()
    terms = {field.name: getattr(spec, field.name) for field in fields(Terms)}
    return Declaration(
        **terms,
        seeds=Seeds(spec.seeds, spec.tuning.seeds if spec.tuning else ()),
        arms=tuple(arms),
        contrasts=tuple(c for contrast in spec.contrasts for c in _resolve_contrast(spec, contrast, ids)),
        text=tuple(resolver.texts),
        given=given,
        declared=datetime.datetime.now(datetime.UTC).date().isoformat(),
    )


class _Resolver:
    """Texts that were read, and arms that were made of them."""

    def __init__(self, spec: Spec, measure: Throughput, say: Say) -> None:
        self.spec, self.measure, self.say = spec, measure, say
        self.texts: list[Text] = []
        self.read: list[ReadText] = []  # of each of the texts

    def arms(self) -> tuple[list[ResolvedArm], dict[Key, str]]:
        """All resolved arms, and the id of each (arm, matching, size)."""
        found: dict[Key, Matched] = {}
        for size in self.spec.each_size:
            configs = {arm.name: self._config(arm, size) for arm in self.spec.arms}
            for kind in self.spec.matching.by:
                found |= self._match(kind, size, configs)
        return self._named(found)

    def _config(self, arm: Arm, size: str | None) -> RunConfig:
        config = RunConfig.from_settings(self.spec.settings(arm, size))
        text = self._text(located(config.data), config.training.seed)
        return replace(config, data=text.data).with_vocabulary(text.vocabulary)

    def _text(self, data: DataConfig, seed: int) -> ReadText:
        for known in self.read:
            if known.given == data:
                return known
        corpus = corpus_of(data, seed, self.say)
        text = prepare(corpus, progress=self.say, spec=data.tokenizer)
        for note in text.notes:
            self.say(note)
        read = from_json(Text, text_facts(text), "the text")
        names = tuple(document.name for document in text.valid.documents)
        judged = self.spec.judged and stores(documents(self.spec.judged, corpus, self.say), corpus, text.tokenizer)
        valid = msgspec.structs.replace(read.valid, files=names)
        self.texts.append(Text(read.train, valid, facts(judged) if judged else {}))
        options, vocabulary = corpus.options, text.tokenizer.vocab_size
        self.read.append(ReadText(data, replace(data, text=options), vocabulary, text.train.chars_per_token))
        return self.read[-1]

    def _index(self, config: RunConfig) -> int:
        """Of its text."""
        return next(i for i, text in enumerate(self.read) if text.data == config.data)

    def _chars_per_step(self, config: RunConfig) -> float:
        return config.tokens_per_step * self.read[self._index(config)].chars_per_token

    def _match(self, kind: MatchKind, size: str | None, configs: dict[str, RunConfig]) -> dict[Key, Matched]:
        matched = {(name, kind, size): Matched(config, None) for name, config in configs.items()}
        if kind == "width":
            return matched
        matching = self.spec.matching
        reference = configs[matching.reference or self.spec.arms[0].name]
        others = [arm for arm in self.spec.arms if matching.target or configs[arm.name] != reference]
        free = {arm.name: configs[arm.name] for arm in others if kind in arm.match}
        as_declared = {arm.name: configs[arm.name] for arm in others if kind not in arm.match}
        vary, tolerance = matching.vary, matching.tolerance
        if kind == "wall-clock":
            named = {f"arms.{name}": config for name, config in free.items()}
            solved = match_time(named, reference, vary, tolerance, self._seconds_per_char)
            left = compare_time(list(as_declared.values()), reference, self._seconds_per_char)
        else:
            cost = PARAMETERS if kind == "parameters" else flops(self._chars_per_step)
            target = matching.target or cost.of(reference)
            solved = [
                match_cost(config, cost, target, vary, tolerance, f"arms.{arm}") for arm, config in free.items()
            ]
            left = [compare_cost(config, cost, target) for config in as_declared.values()]
        keys = [(name, kind, size) for name in (*free, *as_declared)]
        return matched | dict(zip(keys, [*solved, *left], strict=True))

    def _named(self, found: dict[Key, Matched]) -> tuple[list[ResolvedArm], dict[Key, str]]:
        """Ids as short as can be; where another matching of an arm gives the same config, it is the same runs."""
        arms: list[ResolvedArm] = []
        ids: dict[Key, str] = {}
        steps = self._steps([matched.config for matched in found.values()])
        for (key, matched), count in zip(found.items(), steps, strict=True):
            new = self._resolved(key, matched, count)
            same = [a for a in arms if (a.arm, a.size) == (new.arm, new.size) and _is(a, matched.config)]
            if not same:
                arms.append(new)
            ids[key] = (same or [new])[0].id
        return arms, ids

    def _resolved(self, key: Key, matched: Matched, steps: int) -> ResolvedArm:
        name, kind, size = key
        several, sizes = len(self.spec.matching.by) > 1, len(self.spec.sizes) > 1
        arm = next(arm for arm in self.spec.arms if arm.name == name)
        config = matched.config
        cost = size_of(config.model, window=config.window)
        return ResolvedArm(
            id="@".join([name, *([kind] if several else []), *([size] if size and sizes else [])]),
            arm=name,
            label=arm.label,
            about=arm.about,
            matching=kind,
            size=size,
            config=to_json(replace(config, training=replace(config.training, steps=steps)).to_dict()),
            parameters=cost.parameters,
            train_flops=cost.train_flops,
            steps=steps,
            off_by=matched.off_by,
            text=self._index(config),
        )

    def _measured(self, configs: Sequence[RunConfig]) -> list[float]:
        self.say(f"measuring how fast {len(configs)} configs train, turn by turn")
        return self.measure(configs)

    def _seconds_per_char(self, configs: Sequence[RunConfig]) -> list[float]:
        measured = self._measured(configs)
        return [s / self._chars_per_step(c) for s, c in zip(measured, configs, strict=True)]

    def _steps(self, configs: list[RunConfig]) -> list[int]:
        """Updates of each config that the budget pays for."""
        kind, amount = self.spec.budget.kind, self.spec.budget.amount
        if kind == "minutes":
            return [max(1, round(60 * amount / seconds)) for seconds in self._measured(configs)]
        if kind == "chars":
            return [max(1, int(amount // self._chars_per_step(config))) for config in configs]
        flops = [c.tokens_per_step * size_of(c.model, window=c.window).train_flops for c in configs]
        return [max(1, int(amount // each)) for each in flops]


def _is(arm: ResolvedArm, config: RunConfig) -> bool:
    return arm.run_config.model == config.model


def _resolve_contrast(spec: Spec, contrast: Contrast, ids: dict[Key, str]) -> list[ResolvedContrast]:
    """One for each matching and size that it is meant for; the primary one stands for the first of them alone."""
    kinds = [contrast.matching] if contrast.matching else spec.matching.by
    sizes = [contrast.size] if contrast.size else spec.each_size
    found: dict[tuple[str, str], ResolvedContrast] = {}
    for size, kind in product(sizes, kinds):
        pair = ours, theirs = ids[contrast.arm, kind, size], ids[contrast.than, kind, size]
        id = f"{ours}-vs-{theirs}" + ("" if contrast.measure == "valid_nats" else f"-{contrast.measure}")
        primary = contrast.primary and not found
        new = ResolvedContrast(id, ours, theirs, contrast.measure, kind, size, primary, contrast.claim)
        found.setdefault(pair, new)
    return list(found.values())
