"""A run as a folder for onnxruntime (docs/onnx.md): one graph for prompt and next token, its cache codes."""

from __future__ import annotations

import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from aeattn import files
from aeattn.config.model import ModelConfig
from aeattn.config.projections import ROLES
from aeattn.config.run import RunConfig
from aeattn.data.corpora import documents_to_evaluate
from aeattn.data.store import TokenStore, cached_store
from aeattn.data.subwords import SubwordTokenizer
from aeattn.data.tokenizer import CharTokenizer, Tokenizer
from aeattn.data.tokenizer_bytes import ByteTokenizer
from aeattn.errors import InputError
from aeattn.files import Json, to_json
from aeattn.integrations.folder import write_folder
from aeattn.integrations.onnx_card import Measured, card
from aeattn.integrations.onnx_model import Graph, Slot
from aeattn.integrations.onnx_run import OnnxModel, OnnxSession, libraries
from aeattn.nn.transformer import LanguageModel
from aeattn.runs.folder import RunFolder
from aeattn.runs.load import model_of, read_run
from aeattn.training.evaluate import evaluate_store, total
from aeattn.version import VERSION

MODEL, INT8_MODEL = "model.onnx", "int8.onnx"
INSIDE_BYTES = 1 << 30  # of weights: more lie in a file of their own, as protobuf holds 2 GiB
CLOSE = 1e-4  # of logits
CHECKED_TOKENS = 24
OURS = ("aeattn.nn.projection:", "aeattn.nn.kinds:")
Say = Callable[[str], None]


def export(
    run: Path, folder: Path, *, int8: bool = False, measure: Sequence[str] = (), say: Say = lambda _: None
) -> Json:
    """Write the model of a run to a folder that is not there yet; returns what config.json there says.

    With `int8`, the matrices have 8 bits; `measure` are texts over which the losses of the run and of what was
    exported are compared. Raises InputError for a run that another process works on, for what is no whole run, for
    a tokenizer from a plug-in and a projection from one that cannot be exported, where something is at `folder`,
    and where onnx, onnxscript or onnxruntime are not installed.
    """
    files.refuse_existing(folder)
    libraries()
    config: Json = {}

    def contents(locked: RunFolder, name: str) -> Mapping[str, bytes]:
        nonlocal config
        content, config = _contents(locked, name, int8, measure, say)
        return content

    size = write_folder(run, folder, contents)
    return {**config, "bytes": size}


def _contents(
    run: RunFolder, name: str, int8: bool, texts: Sequence[str], say: Say
) -> tuple[dict[str, bytes], Json]:
    """The files of the exported folder, by name, and its config."""
    config, tokenizer, weights = read_run(run.path)
    if not isinstance(tokenizer, CharTokenizer | ByteTokenizer | SubwordTokenizer):
        kind = type(tokenizer).__name__
        raise InputError(f"the tokenizer of the run, {kind}, comes from a plug-in: only aeattn's own are exported")
    store = _store(texts, config, tokenizer, say) if texts else None
    model = model_of(config.model, weights)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / MODEL
        slots = _write_graph(model, path, say)
        say("checking it against the run")
        _check(model, OnnxSession(path, slots), config.model)
        if int8:
            say("rounding its matrices to 8 bits")
            path = _quantised(path)
        measured = None
        if store is not None:
            say(f"measuring it over {store.chars:,} characters")
            measured = _measure(model, OnnxSession(path, slots), store, tokenizer)
        graphs = {(MODEL if each == path else each.name): each.read_bytes()
                  for each in sorted(path.parent.iterdir())}  # fmt: skip
    described = _described(config, tokenizer, slots, int8, measured)
    return {
        **graphs,
        "config.json": to_json(described),
        "tokenizer.json": json.dumps(tokenizer.to_dict(), ensure_ascii=False).encode() + b"\n",
        "generate.py": resources.files("aeattn.integrations").joinpath("onnx_generate.py").read_bytes(),
        "README.md": card(name, config, run.read_metrics(), slots, int8, measured).encode(),
    }, described


def _described(
    config: RunConfig, tokenizer: Tokenizer, slots: Sequence[Slot], int8: bool, measured: Measured | None
) -> Json:
    """What config.json says: enough to feed the graph, and nothing of where the run lay."""
    model = config.model
    inputs = {"input_ids": ["batch", "time"], "attention_mask": ["batch", "past + time"]}
    cache = [{"input": s.past, "output": s.present, "shape": list(s.shape), "type": "float32", "holds": s.holds}
             for s in slots]  # fmt: skip
    return {
        "made_by": f"aeattn {VERSION}",
        "context": model.context,
        "vocab_size": model.vocab_size,
        "tokenizer": tokenizer.to_dict().get("kind", "subwords"),
        "text": config.data.text.to_dict(),
        "weights": "int8" if int8 else "float32",
        "inputs": {name: {"shape": shape, "type": "int64"} for name, shape in inputs.items()},
        "outputs": {"logits": {"shape": ["batch", "time", model.vocab_size], "type": "float32"}},
        "cache": cache,
        "cache_numbers_a_token": sum(sum(s.holds.values()) for s in slots if not s.is_conv),
        "measured": None if measured is None else asdict(measured),
        "model": model.to_dict(),
    }


# -- the graph ---------------------------------------------------------------------------------------------


def _write_graph(model: LanguageModel, path: Path, say: Say) -> list[Slot]:
    """Write the graph of a model; returns what it keeps of the past."""
    graph = Graph(model).eval()
    layers = model.config.n_layers
    say(f"tracing {layers} layers, some seconds each")
    try:
        with _quiet():
            traced = _traced(graph)
            say("writing the graph")
            weights = sum(t.numel() * t.element_size() for t in graph.state_dict().values())
            traced.save(path, external_data=weights > INSIDE_BYTES)
    except Exception as error:
        foreign = _foreign(model.config)
        if not foreign:
            raise
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        raise InputError(
            f"projections of the kind {foreign} come from a plug-in, and PyTorch cannot export them ({reason}): "
            "write them with PyTorch's own operators"
        ) from error
    return graph.slots


def _traced(graph: Graph) -> Any:
    rows, new, before = 2, 3, 5  # sizes of the example: 0 and 1 would be taken for constants
    slots = graph.slots
    kept = tuple(torch.zeros(slot.first(rows, before)) for slot in slots)
    ids, mask = torch.zeros(rows, new, dtype=torch.int64), torch.ones(rows, before + new, dtype=torch.int64)
    varying = tuple({0: "batch"} if slot.is_conv else {0: "batch", 2: "past"} for slot in slots)
    traced: Any = torch.onnx.export(
        graph, (ids, mask, kept), dynamo=True, verbose=False, external_data=False,
        input_names=["input_ids", "attention_mask", *(slot.past for slot in slots)],
        output_names=["logits", *(slot.present for slot in slots)],
        dynamic_shapes=({0: "batch", 1: "time"}, {0: "batch", 1: torch.export.Dim.DYNAMIC}, varying),
    )  # fmt: skip
    for node in traced.model.graph:
        node.metadata_props.clear()  # where in whose files an operator comes from
    return traced


def _foreign(config: ModelConfig) -> str:
    """The kinds of projection of a model that are not this package's."""
    used = [config.projection(role, layer) for role in ROLES for layer in range(config.n_layers)]
    return ", ".join(sorted({kind.name for kind in used if not kind.home.startswith(OURS)}))


@contextmanager
def _quiet() -> Iterator[None]:
    """What exporters say of themselves is for their authors."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _quantised(path: Path) -> Path:
    """The same graph in a folder of its own, its constant matrices in 8 bits, but for those of each head: decoders
    that are absorbed."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    made = path.parent / "int8" / INT8_MODEL
    made.parent.mkdir()
    large = path.stat().st_size > INSIDE_BYTES or any(each.name != MODEL for each in path.parent.glob(f"{MODEL}*"))
    graph = onnx.load(path, load_external_data=False).graph
    axes = {weight.name: len(weight.dims) for weight in graph.initializer}
    by_head = [node.name for node in graph.node if node.op_type == "MatMul" and axes.get(node.input[1], 2) != 2]
    with _quiet():
        quantize_dynamic(
            path, made, nodes_to_exclude=by_head,  # onnxruntime cannot multiply by these a column at a time
            op_types_to_quantize=["MatMul"], per_channel=True, weight_type=QuantType.QInt8,
            use_external_data_format=large,
        )  # fmt: skip
    return made


# -- what it is worth --------------------------------------------------------------------------------------


@torch.inference_mode()
def _check(model: LanguageModel, session: OnnxSession, config: ModelConfig) -> None:
    """Raise InputError where the graph's logits are not the model's, whole and in pieces."""
    time = min(CHECKED_TOKENS, config.context)
    ids = torch.randint(0, config.vocab_size, (2, time), generator=torch.Generator().manual_seed(0))
    wanted = model(ids)
    for ends in ([time], [*range(max(1, time - 2), time), time]):
        found = torch.from_numpy(session.in_pieces(ids.numpy(), ends))
        if not torch.allclose(found, wanted, atol=CLOSE, rtol=1e-5):
            worst = float((found - wanted).abs().max())
            foreign = _foreign(config)
            raise InputError(
                f"the exported graph's logits differ by {worst:.1e} from the run's: "
                + (f"projections of the kind {foreign} do not compute the same there" if foreign
                   else "this model cannot be exported")
            )  # fmt: skip


def _store(texts: Sequence[str], config: RunConfig, tokenizer: Tokenizer, say: Say) -> TokenStore:
    documents = documents_to_evaluate(texts, config.data.text, config.text_seed, say)
    store = cached_store(documents, tokenizer, config.data.text)
    if store.chars < 2:
        raise InputError("nothing to measure: give a text of at least 2 characters")
    return store


def _measure(model: LanguageModel, session: OnnxSession, store: TokenStore, tokenizer: Tokenizer) -> Measured:
    """Losses over the same windows as `aeattn evaluate` has them."""
    of_run, exported = (
        total(score for _, score in evaluate_store(each, store, model.config.context, tokenizer))
        for each in (model, OnnxModel(session))
    )
    assert of_run.nats_per_char is not None
    assert exported.nats_per_char is not None
    names = tuple(Path(document.name).name for document in store.documents)
    return Measured(names, exported.chars, of_run.nats_per_char, exported.nats_per_char)
