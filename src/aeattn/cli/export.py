"""`aeattn export` and `aeattn import`: runs in the folders of other libraries, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from aeattn.cli.options import Command, Example, add_json, add_run, check_run
from aeattn.errors import InputError
from aeattn.terminal.tables import print_json, print_next, print_text, say


def export_run(options: argparse.Namespace) -> int:
    """Write the folder that the options name; returns the exit code."""
    if options.to != "onnx" and (options.int8 or options.measure):
        raise InputError("--int8 and --measure go with --to onnx: leave them out, or export to that")
    check_run(options.run)
    return _to_onnx(options) if options.to == "onnx" else _to_hf(options)


def _to_hf(options: argparse.Namespace) -> int:
    from aeattn.integrations.hf_export import export  # from here on PyTorch is loaded, which takes seconds

    written = export(options.run, options.folder)
    if options.json:
        print_json({"folder": str(options.folder), "bytes": written})
    else:
        print_text(f"{options.folder}: {written / 1e6:,.1f} MB, to be loaded with trust_remote_code=True")
    return 0


def _to_onnx(options: argparse.Namespace) -> int:
    from aeattn.integrations.onnx_export import export

    found = export(options.run, options.folder, int8=options.int8, measure=options.measure, say=say)
    if options.json:
        print_json({"folder": str(options.folder), "bytes": found["bytes"], "measured": found["measured"]})
        return 0
    print_text(f"{options.folder}: {found['bytes'] / 1e6:,.1f} MB, for onnxruntime")
    if (measured := found["measured"]) is not None:
        losses = [measured[name] for name in ("run_nats_per_char", "nats_per_char")]
        print_text(
            f"nats/char: {losses[0]:.4f} of the run, {losses[1]:.4f} as exported ({losses[1] - losses[0]:+.4f})"
        )
    print_next(f"python {options.folder / 'generate.py'} 'The '")
    return 0


def import_folder(options: argparse.Namespace) -> int:
    """Make a run of the folder that the options name; returns the exit code."""
    from aeattn.integrations.hf_export import bring_back

    bring_back(options.folder, options.run)
    if options.json:
        print_json({"run": str(options.run)})
        return 0
    print_text(f"{options.run}: generate, evaluate and inspect read it as any run")
    print_next(f"aeattn generate {options.run} --prompt 'The '")
    return 0


def _export_options(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    what = "hf: a folder for Hugging Face's transformers; onnx: one for onnxruntime"
    parser.add_argument("--to", choices=["hf", "onnx"], required=True, help=what)
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that is not there yet")
    parser.add_argument("--int8", action="store_true", help="onnx: matrices of 8 bits")
    parser.add_argument("--measure", action="append", default=[], metavar="TEXT",
                        help="onnx: compare the losses of run and export over a text")  # fmt: skip
    add_json(parser)


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that `aeattn export` wrote")
    add_run(parser)
    add_json(parser)


EXPORT = Command(
    "export",
    "write a run's model for another library",
    _export_options,
    export_run,
    examples=(
        Example("aeattn export runs/mine --to hf my-model", "a folder for Hugging Face's transformers"),
        Example("aeattn export runs/mine --to onnx my-model", "a folder for onnxruntime"),
    ),
)
IMPORT = Command(
    "import",
    "make a run of an exported folder",
    _import_options,
    import_folder,
    examples=(Example("aeattn import my-model runs/back", "a run folder again"),),
)
