"""`aeattn export` and `aeattn import`: runs in the folders of other libraries, and back."""

from __future__ import annotations

import argparse
from pathlib import Path

from aeattn.cli.options import Command, Example, add_json, add_run
from aeattn.terminal.tables import print_json, print_next, print_text


def export_run(options: argparse.Namespace) -> int:
    """Write the folder that the options name; returns the exit code."""
    from aeattn.runs.folder import RunFolder

    RunFolder(options.run).read_config()

    from aeattn.integrations.hf_export import export  # from here on PyTorch is loaded, which takes seconds

    written = export(options.run, options.folder)
    if options.json:
        print_json({"folder": str(options.folder), "bytes": written})
    else:
        print_text(f"{options.folder}: {written / 1e6:,.1f} MB, to be loaded with trust_remote_code=True")
    return 0


def import_folder(options: argparse.Namespace) -> int:
    """Make a run of the folder that the options name; returns the exit code."""
    from aeattn.integrations.hf_export import bring_back

    bring_back(options.folder, options.run)
    print_text(f"{options.run}: generate, evaluate and inspect read it as any run")
    print_next(f"aeattn generate {options.run} --prompt 'The '")
    return 0


def _export_options(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--to", choices=["hf"], required=True, help="hf: a folder for Hugging Face's transformers")
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that is not there yet")
    add_json(parser)


def _import_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="a folder that `aeattn export` wrote")
    add_run(parser)


EXPORT = Command(
    "export",
    "write a run's model for another library",
    _export_options,
    export_run,
    examples=(Example("aeattn export runs/mine --to hf my-model", "a folder for Hugging Face's transformers"),),
)
IMPORT = Command(
    "import",
    "make a run of an exported folder",
    _import_options,
    import_folder,
    examples=(Example("aeattn import my-model runs/back", "a run folder again"),),
)
