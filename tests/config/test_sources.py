"""Every setting can be reached from a TOML file, a JSON file and `--set`, and bad ones get one line."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeattn.cli import main, make_parser
from aeattn.cli.options import SECTIONS, section_settings
from aeattn.config.fields import Setting
from aeattn.config.presets import DEFAULT_PRESET, SETTINGS_PRESET
from aeattn.config.run import RunConfig
from aeattn.config.sources import read_settings, read_toml, resolve
from aeattn.errors import InputError

OTHER: dict[str, Any] = {
    "model.bottleneck": 8, "model.conv": 2, "model.n_heads": 8, "model.n_kv_heads": 2, "data.recipe": "books10m",
    "training.steps": 7, "model.d_model": 64,
    "training.spike_factor": 3.0, "model.query": "linear", "model.key": "bottleneck", "model.value": "linear",
}  # fmt: skip
FIELDS = [
    (f"{section}.{each.name}", each)
    for section in SECTIONS
    for each in section_settings(section)
    if not dataclasses.is_dataclass(each.type) and each.name != "vocab_size"
]


def _other(name: str, each: Setting) -> Any:
    """A value that is not the default."""
    if name in OTHER:
        return OTHER[name]
    kinds = get_args(each.type) or (each.type,)
    if get_origin(each.type) is Literal:
        return next(kind for kind in kinds if kind != each.default)
    if each.type is bool:
        return not each.default
    if get_origin(each.type) is tuple:
        return ["a.txt", "b.txt"]
    if int in kinds:
        return (each.default or 1) + 2
    return 0.5 if float in kinds else "other"


def _at(config: RunConfig, name: str) -> Any:
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return list(found) if isinstance(found, tuple) else found


@pytest.mark.parametrize(("name", "each"), FIELDS, ids=[name for name, _ in FIELDS])
def test_every_setting_is_reached(name: str, each: Setting, tmp_path: Path) -> None:
    value = _other(name, each)
    assert each.help
    (toml := tmp_path / "a.toml").write_text(f"{name} = {json.dumps(value)}\n")
    nested: Any = value
    for part in reversed(name.split(".")):
        nested = {part: nested}
    (record := tmp_path / "record.json").write_text(json.dumps({"name": "final", "config": nested}))
    assert _at(resolve({}, sets=[f"{name}={json.dumps(value)}"]), name) == value != each.default
    assert _at(resolve({}, file=toml), name) == value
    assert _at(resolve({}, file=record), name) == value


def test_help_shows_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_parser().parse_args(["train", "--help"])
    shown = capsys.readouterr().out
    assert not [each.option for _, each in FIELDS if each.flag and each.option not in shown]


def test_later_sources_win(tmp_path: Path) -> None:
    (file := tmp_path / "a.toml").write_text('preset = "1m"\n[model]\nd_ff = 1\nconv = 3\n[training]\nsteps = 9\n')
    config = resolve({"model": {"d_ff": 2, "conv": 2}}, file=file, sets=["model.d_ff=3"])
    assert (config.preset, config.model.d_model, config.model.d_ff, config.model.conv) == ("1m", 192, 3, 2)
    assert config.training.steps == 9


def test_words_need_no_quotes_and_lists_may_be_plain(tmp_path: Path) -> None:
    (file := tmp_path / "a.toml").write_text('[data]\ncorpus = "tales"\n[model]\ntied = true\n')
    config = resolve({}, file=file, sets=["model.positions=rotary", "model.key=linear,bottleneck,linear"])
    assert config.data.corpus == ("tales",)
    assert config.model.tied
    assert config.model.positions == "rotary"
    assert config.model.key == ("linear", "bottleneck", "linear")


def test_a_run_of_its_own_config(tmp_path: Path) -> None:
    config = resolve({}, sets=["model.tied=true", "training.seed=4"]).with_vocabulary(30)
    (file := tmp_path / "config.json").write_text(json.dumps({"format": 1, **config.to_dict(), "checksum": "x"}))
    assert resolve({}, file=file) == config.with_vocabulary(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model.d_f=3", "model: unknown key 'd_f'; did you mean 'd_ff'"),
        ("modle.d_ff=3", "config: unknown key 'modle'; did you mean 'model'"),
        ("model.d_ff", "write SECTION.KEY=VALUE"),
        ("=3", "write SECTION.KEY=VALUE"),
        ("a" + ".a" * 40_000 + "=3", "write SECTION.KEY=VALUE"),
        ("model.d_ff=wide", "model.d_ff is 'wide': give a value of type int"),
        ("model.d_ff=1.5", "model.d_ff is 1.5: give a value of type int"),
        ("model.d_ff=3\nconv=4", "give a value of type int"),
        ("model=3", "model is 3: write a table"),
        ("model.vocab_size=3", "vocab_size comes from the text"),
        ("model.d_ff=9223372036854775808", "below 2"),
        ("training.learning_rate=inf", "learning_rate is inf"),
        ("training.learning_rate=1e300", "learning_rate is 1e.300"),
        ("training.minutes=1e300", "minutes is 1e.300"),
        ("training.clip=nan", "clip is nan"),
        ("training.seed=9223372036854775808", "seed is 9223372036854775808"),
        ("training.eval_every=9223372036854775808", "eval_every is 9223372036854775808"),
        ("data.limit_chars=0", "limit_chars is 0: choose at least 1"),
        ("data.limit_chars=9223372036854775808", "limit_chars is 9223372036854775808"),
        ('data.corpus=""', "data.corpus has an empty name"),
        ("model.dropout=nan", "dropout is nan"),
    ],
    ids=lambda text: text[:30],
)
def test_what_cannot_be_is_told_in_a_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        resolve({}, sets=[text])
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    "arguments",
    [["size", "--parameters", "inf"], ["size", "--flops", "1e300"],
     ["size", "--vocab-size", "9223372036854775808"],
     ["size", "--parameters", "nan"], ["train", ""], ["train", "--steps", "1e300"], ["train", "--steps", "inf"],
     ["train", "--chars", "nan"], ["train", "--set", "model.conv=-1"], ["size", "--set", "model.n_kv_heads=3"],
     ["train", "--batch", "9223372036854775808"], ["train", "--plugin", "nowhere.py"]],
    ids=" ".join,
)  # fmt: skip
def test_bad_numbers_end_in_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_size_takes_every_setting_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    def parameters(*more: str) -> int:
        assert main(["size", "--preset", "460k", "--json", *more]) == 0
        return int(json.loads(capsys.readouterr().out)["presets"][0]["parameters"])

    assert parameters("--set", "model.d_model=256") == parameters("--d-model", "256") > parameters()
    assert parameters("--set", "model.tied=true") < parameters()


def test_a_pipe_is_read_whole(tmp_path: Path) -> None:
    os.mkfifo(pipe := tmp_path / "pipe")
    writer = threading.Thread(target=pipe.write_text, args=["[model]\nd_ff = 77\n"])
    writer.start()
    assert read_settings(pipe) == {"model": {"d_ff": 77}}


@pytest.mark.parametrize("content", ["a" * 40_000, "a " * 40_000, "'" * 40_000, "a" + " " * 40_000 + "b"])
def test_long_words_take_no_time(content: str, tmp_path: Path) -> None:
    (file := tmp_path / "a.toml").write_text(content)
    before = time.process_time()
    with pytest.raises(InputError, match="cannot be read"):
        read_toml(file)
    assert time.process_time() - before < 2  # it took 12 s: a square


def test_tables_deep_in_tables_are_refused(tmp_path: Path) -> None:
    for content in ("a" + ".a" * 30 + " = 1", "[" * 5000, '{"a":' * 5000, "x = 1\n" * 200_000):
        (file := tmp_path / "a.toml").write_text(content)
        with pytest.raises(InputError, match="cannot be read"):
            read_settings(file)


LIGHT = [["--help"], ["train", "--help"], ["train", "--set", "model.d_ff=0"], ["train", "--steps", "x"], ["size"]]


def test_neither_torch_nor_numpy_is_loaded() -> None:
    code = f"""import sys; from aeattn.cli import main
for arguments in {LIGHT!r}:
    try: main(arguments)
    except SystemExit: pass
    assert not {{"torch", "numpy"}} & set(sys.modules), arguments"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, capture_output=True)


# -- round trips -------------------------------------------------------------------------------------------

_VALUES = {
    "model.n_layers": st.integers(1, 5), "model.d_ff": st.integers(1, 10**9), "model.tied": st.booleans(),
    "model.key": st.sampled_from(["linear", "bottleneck", ["linear", "autoencoder", "bottleneck"]]),
    "model.dropout": st.floats(0, 0.99), "training.steps": st.integers(1, 2**53 - 1),
    "training.learning_rate": st.floats(1e-30, 1e30), "training.schedule": st.sampled_from(["wsd", "cosine"]),
    "training.seed": st.integers(0, 2**63 - 1), "training.minutes": st.floats(0.001, 1e6),
    "training.checkpoint_every": st.integers(0, 10**6), "data.seed": st.integers(0, 2**63 - 1),
    "data.corpus": st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=3),
    "data.text.keep": st.text(st.characters(codec="utf-8"), min_size=1), "data.text.lower": st.booleans(),
}  # fmt: skip


@given(st.fixed_dictionaries({}, optional=_VALUES))
def test_round_trips_through_json_and_toml(changes: dict[str, Any]) -> None:
    if isinstance(changes.get("model.key"), list):
        changes["model.n_layers"] = 3
    config = RunConfig().changed(changes)
    assert RunConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    sets = [f"{name}={_toml(value)}" for name, value in changes.items()]
    assert dataclasses.replace(resolve({"preset": "460k"}, sets=sets), preset=None) == config


def _toml(value: Any) -> str:
    """As JSON, in which DEL is to be escaped for TOML, and other characters are not."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def test_a_file_that_describes_a_model_means_the_same_whatever_the_default_preset_is(tmp_path: Path) -> None:
    (file := tmp_path / "model.toml").write_text('[model]\nkey = "linear"\n')
    config = resolve({}, file=file)
    assert (config.preset, config.model.n_kv_heads) == (SETTINGS_PRESET, None)
    file.write_text("[training]\nsteps = 9\n")
    assert resolve({}, file=file).preset == DEFAULT_PRESET
    assert resolve({"model": {"key": "linear"}}).preset == DEFAULT_PRESET  # options, over the default


@pytest.mark.parametrize("text", ["preset.a=3", "preset=[1]", 'preset={ "a" = 1 }'])
def test_a_preset_that_is_no_name_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"^preset is "):
        resolve({}, sets=[text])


RECORDS = [path for path in sorted((Path(__file__).parents[2] / "results").glob("*.json"))
           if "config" in json.loads(path.read_text())]  # fmt: skip


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_can_be_repeated(path: Path) -> None:
    config, recorded = resolve({}, file=path).to_dict(), json.loads(path.read_text())["config"]
    for section, values in recorded.items():
        for name, value in values.items() if isinstance(values, dict) else ():
            if (section, name) != ("model", "vocab_size"):
                assert json.loads(json.dumps(config[section][name])) == value


def test_there_are_records_to_repeat() -> None:
    assert len(RECORDS) > 3
