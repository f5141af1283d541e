"""Subwords and bytes: ids are those of `tokenizers`, texts come back exactly; other files are refused."""

from __future__ import annotations

import copy
import functools
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Library

from aeattn.config.run import DataConfig
from aeattn.config.text import TextOptions
from aeattn.data import build, documents, small, subwords, tokenizer_bpe, tokenizer_gpt2
from aeattn.data.decoder import Decoder
from aeattn.data.store import build_store
from aeattn.data.subwords_check import ALPHABET, LETTERS, SPACES, cuts
from aeattn.data.tokenizer import Tokenizer, load_tokenizer, make_tokenizer, tokenizer_kind
from aeattn.data.tokenizer_file import FileTokenizer
from aeattn.errors import InputError
from aeattn.training.plan import located

TEXT = (
    "The quick brown fox's den isn't far;  the hen's egg — 1,234 of them — was 'fried'.\n\n\tNaïve café, 😀! " * 30
)
LLAMA = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")  # fmt: skip
LEARNED = make_tokenizer("bpe:320", [TEXT])
FILE = LEARNED.to_dict()
PIECES = st.sampled_from(
    [*" \n\t'.,!-sté1漢😀\u0301\xa0\u200b\u180e\u3000\x1c", "  ", "'s", "the", " quick", "\r\n"]
)
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=4)), max_size=40).map("".join)


def _with(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    values = copy.deepcopy(FILE)
    change(values)
    return values


def _llama(values: dict[str, Any]) -> None:
    split = {"type": "Split", "pattern": {"Regex": LLAMA}, "behavior": "Isolated", "invert": False}
    level = {**values["pre_tokenizer"], "use_regex": False}
    values["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, level]}


def _added(**changes: object) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return {"id": len(FILE["model"]["vocab"]), "content": "<end>", **flags, **changes}


KINDS = {
    "learned": LEARNED,
    "llama": FileTokenizer(_with(_llama)),
    "added": FileTokenizer(_with(lambda v: v["added_tokens"].append(_added()))),
    "special": FileTokenizer(_with(lambda v: v["added_tokens"].append(_added(special=True)))),
    "unknown": FileTokenizer(_with(lambda v: v["pre_tokenizer"].update(use_regex=False))),
    "bytes": make_tokenizer("bytes", ()),
}


@functools.cache
def _library(tokenizer: Tokenizer) -> Library:
    made = Library.from_str(json.dumps(tokenizer.to_dict()))
    made.encode_special_tokens = True
    return made


# -- ids and text --------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.sampled_from(list(KINDS)), TEXTS, st.integers(1, 7))
def test_ids_are_the_librarys_whatever_the_chunks(kind: str, text: str, size: int) -> None:
    tokenizer = KINDS[kind]
    text += "<end> the" if kind in ("added", "special") else ""
    ids = tokenizer.encode(text)
    assert ids.tolist() == (list(text.encode()) if kind == "bytes" else _library(tokenizer).encode(text).ids)
    chunks = [text[at : at + size] for at in range(0, len(text), size)]
    assert np.concatenate([ids[:0], *tokenizer.encode_chunks(chunks)]).tolist() == ids.tolist()
    assert ids.dtype == tokenizer.dtype
    assert tokenizer.decode(ids) == text
    assert int(tokenizer.chars_per_token[ids].sum()) == len(text)
    assert int(tokenizer.bytes_per_token[ids].sum()) == len(text.encode())


@given(st.sampled_from(["learned", "special"]), st.lists(st.integers(0, 319), max_size=12))
def test_any_ids_decode_as_the_library_decodes_them(kind: str, ids: list[int]) -> None:
    tokenizer = KINDS[kind]
    ids = [i % tokenizer.vocab_size for i in ids]
    assert tokenizer.decode(ids) == _library(tokenizer).decode(ids)
    decoder = Decoder(tokenizer)
    pieces = [decoder.push(np.array([i])) for i in ids]
    assert "".join(pieces) + decoder.close() == tokenizer.decode(ids)


def test_a_piece_of_text_never_shows_half_a_character() -> None:
    for kind in ("learned", "bytes"):
        decoder = Decoder(KINDS[kind])
        pieces = [decoder.push(np.array([i])) for i in KINDS[kind].encode("é😀漢a\u0301")]
        assert "".join(pieces) + decoder.close() == "é😀漢a\u0301"
        assert "\ufffd" not in "".join(pieces)


def test_where_a_text_may_be_cut_is_known_of_some_alone() -> None:
    assert cuts(FILE) is cuts(KINDS["special"].to_dict()) is SPACES
    assert cuts(KINDS["llama"].to_dict()) is LETTERS
    assert cuts(KINDS["unknown"].to_dict()) is None
    assert cuts(_with(lambda v: v["added_tokens"].append(_added(content="a b")))) is None


def test_a_text_that_cannot_be_cut_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subwords, "WHOLE_CHARS", 50)
    with pytest.raises(InputError, match="without a place where this tokenizer is known to cut"):
        list(KINDS["unknown"].encode_chunks(["the quick "] * 6))
    assert len(list(LEARNED.encode_chunks(["the quick "] * 6))) == 7


def test_what_is_no_character_is_counted_and_read_as_the_substitute() -> None:
    for tokenizer in (LEARNED, KINDS["bytes"]):
        unknown: Counter[str] = Counter()
        assert tokenizer.decode(tokenizer.encode("a\ud800b", unknown)) == "a\ufffdb"
        assert unknown == {"\ud800": 1}
        with pytest.raises(InputError, match="lone surrogates"):
            tokenizer.encode("a\ud800b", strict=True)
        with pytest.raises(ValueError, match="ids must be integers"):
            tokenizer.decode([tokenizer.vocab_size])


def test_words_are_remembered_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subwords, "KNOWN_WORDS", 3)
    tokenizer = FileTokenizer(FILE)
    ids = [tokenizer.encode(TEXT).tolist() for _ in range(2)]
    tokenizer.encode("x" * 100)
    assert ids[0] == ids[1] == _library(LEARNED).encode(TEXT).ids
    assert "x" * 100 not in tokenizer._known


# -- learning ------------------------------------------------------------------------------------------------


def test_the_same_text_gives_the_same_merges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_bpe, "PIECE_CHARS", 100)
    again = make_tokenizer("bpe:320", (TEXT[at : at + 37] for at in range(0, len(TEXT), 37)))
    assert again.digest == LEARNED.digest
    assert again.vocab_size == 320


def test_merges_are_learned_from_the_beginning_of_a_long_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer_bpe, "LEARN_CHARS", 1000)

    def endless() -> Iterator[str]:
        while True:
            yield TEXT

    assert make_tokenizer("bpe:300", endless()).digest == make_tokenizer("bpe:300", [TEXT[:1000]]).digest


@pytest.mark.parametrize("argument", ["", "256", "-300", "3e2", "³00", "300.0", "1000001", "9" * 40])
def test_impossible_sizes_are_refused(argument: str) -> None:
    kind, _ = tokenizer_kind("bpe:300")
    with pytest.raises(InputError, match="choose bpe:N with N, the size of the vocabulary, from 257"):
        kind.check(argument)


def test_a_text_that_is_too_small_says_how_many_tokens_it_has() -> None:
    with pytest.raises(InputError, match="supports only 262 tokens: choose at most bpe:262"):
        make_tokenizer("bpe:5000", ["hello hello"] * 3)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(InputError, match=r"pip install 'autoencoder-attention\[data\]'"):
        tokenizer_kind("bpe:300")[0].check("300")


class Killed(BaseException):
    """Ends a build as a signal does."""


def test_a_store_that_is_killed_goes_on_to_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "JOURNAL_SECONDS", 0.0)
    monkeypatch.setattr(documents, "CHUNK_CHARS", 997)
    monkeypatch.setattr(small, "SMALL_BYTES", -1)
    texts = [documents.Document("a", text=TEXT), documents.Document("b", text=TEXT[7:])]
    calls = 0
    encode = FileTokenizer.encode

    def killed_in_the_middle(self: FileTokenizer, *arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Killed
        return encode(self, *arguments)

    monkeypatch.setattr(FileTokenizer, "encode", killed_in_the_middle)
    with pytest.raises(Killed):
        build_store(texts, FileTokenizer(FILE), TextOptions(), tmp_path / "a.ids")
    store = build_store(texts, FileTokenizer(FILE), TextOptions(), tmp_path / "a.ids")
    assert store.ids.tolist() == [i for text in (TEXT, TEXT[7:]) for i in _library(LEARNED).encode(text).ids]
    assert [document.chars for document in store.documents] == [len(TEXT), len(TEXT) - 7]


# -- files ---------------------------------------------------------------------------------------------------


def test_a_run_keeps_the_librarys_own_file(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(LEARNED.to_dict()))
    assert load_tokenizer(path).digest == LEARNED.digest
    assert Library.from_file(str(path)).encode(TEXT).ids == LEARNED.encode(TEXT).tolist()
    assert make_tokenizer(str(path), ()).digest == LEARNED.digest


def test_a_file_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located(DataConfig(tokenizer="sub.json")).tokenizer == str(tmp_path / "sub.json")
    assert located(DataConfig(tokenizer="bpe:300")).tokenizer == "bpe:300"


def _vocabulary(**tokens: int) -> Callable[[dict[str, Any]], object]:
    return lambda values: values["model"]["vocab"].update(tokens)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_vocabulary(zz=5000), "no token has the id 320, of 321 tokens: ids must have no holes"),
        (_vocabulary(zz=5), "have the same id"),
        (_vocabulary(zz="5"), "no table of tokens"),  # type: ignore[arg-type]
        (_vocabulary(漢=320), "'漢' is not made of bytes"),
        (lambda v: v["model"]["vocab"].pop("Ā"), "no token has the id"),
        (lambda v: v["model"]["merges"].append(["zz", "q"]), "cannot read it: Token `zz` out of vocabulary"),
        (lambda v: v["model"]["merges"].append(["q"]), "cannot read it"),
        (lambda v: v["model"].update(type="WordPiece"), "its model is WordPiece: only byte-level BPE gives back"),
        (lambda v: v["model"].update(type="Unigram", vocab=[["a", 0.0]]), "its model is Unigram"),
        (lambda v: v.pop("model"), "expected an object with a 'model'"),
        (lambda v: v.update(pre_tokenizer=None), "it is not byte-level BPE"),
        (lambda v: v.update(pre_tokenizer={"type": "Metaspace"}), "pre-tokenizer Metaspace does not keep"),
        (lambda v: v["pre_tokenizer"].update(add_prefix_space=True), "puts a space before a text"),
        (lambda v: v.update(normalizer={"type": "NFC"}), "its normalizer NFC changes the text"),
        (lambda v: v["model"].update(dropout=0.1), "its model has a dropout"),
        (lambda v: v["added_tokens"].append({"id": 320}), "added_tokens are no list of tokens"),
        (lambda v: v["added_tokens"].append(_added(lstrip=True)), "takes the spaces around it"),
        (lambda v: v["added_tokens"].append(_added(id=5)), "id 5 is both"),
        (lambda v: v.update(version="9"), "cannot read it: Unknown tokenizer version"),
    ],
)
def test_files_that_cannot_give_back_texts_are_refused(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    path = tmp_path / "other.json"
    path.write_text(json.dumps(_with(change)))
    with pytest.raises(InputError, match=r"other\.json: ") as refusal:
        make_tokenizer(str(path), ())
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"[]", "expected an object"),
        (b"{}", "expected an object with a 'model'"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"model": {"vocab": {"a": 0, "a": 1}}}', "'a' stands there twice"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "other.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"other\.json: .*{reason}"):
        tokenizer_kind(str(path))[0].check(str(path))


def test_what_is_no_file_or_too_large_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(40 << 20)
    for path, reason in ((large, "too large"), (tmp_path, "is no file"), (tmp_path / "no.json", "cannot be read")):
        with pytest.raises(InputError, match=reason):
            make_tokenizer(str(path), ())


# -- GPT-2 ---------------------------------------------------------------------------------------------------


def _stand_in() -> dict[str, Any]:
    """As large as GPT-2's: pairs of bytes for its merges, and its special token."""
    letters = list(ALPHABET)
    pairs = [(a, b) for a in letters for b in letters][:50_000]
    vocabulary = {token: i for i, token in enumerate([*letters, *map("".join, pairs)])}
    end = _added(id=50_256, content="<|endoftext|>", special=True)
    return _with(lambda v: (v["model"].update(vocab=vocabulary, merges=pairs), v["added_tokens"].append(end)))


def test_gpt2_is_taken_from_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setenv("AEATTN_CORPORA", str(tmp_path / "corpora"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    kind, _ = tokenizer_kind("gpt2")
    with pytest.raises(InputError, match=r"corpora/gpt2/tokenizer\.json or .*, nor on the hub \(HF_HUB_OFFLINE"):
        kind.check("")
    content = json.dumps(_stand_in())
    snapshot = tmp_path / "hub" / "models--openai-community--gpt2"
    for path, text in ((snapshot / "refs" / "main", "abc"), (snapshot / "snapshots/abc/tokenizer.json", content)):
        path.parent.mkdir(parents=True)
        path.write_text(text)
    tokenizer = make_tokenizer("gpt2", ())
    assert (tokenizer.vocab_size, tokenizer.dtype) == (50_257, np.uint16)
    assert tokenizer.decode(tokenizer.encode("a<|endoftext|>")) == "a<|endoftext|>"
    assert tokenizer.decode([50_256]) == ""
    (tmp_path / "corpora" / "gpt2").mkdir(parents=True)
    (tmp_path / "corpora" / "gpt2" / "tokenizer.json").write_text(json.dumps(FILE))
    assert tokenizer_gpt2.find().parts[-3] == "corpora"
    with pytest.raises(InputError, match="has 320 tokens, GPT-2's tokenizer has 50,257"):
        make_tokenizer("gpt2", ())
