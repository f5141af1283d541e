"""Finding validation text in the training text."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aeattn.data import overlap as module
from aeattn.data import shingles
from aeattn.data.overlap import SHINGLE, overlap
from aeattn.data.tokenizer import CharTokenizer, Ids, make_tokenizer

TOKENIZER = CharTokenizer("".join(sorted(string.ascii_letters + " \n.")))
WIDE = CharTokenizer(TOKENIZER.characters + "".join(map(chr, range(0x4E00, 0x4F00))))  # ids of two bytes


def encode(text: str) -> Ids:
    return TOKENIZER.encode(text, strict=True)


def noise(length: int, seed: int) -> str:
    letters = np.array(list(TOKENIZER.characters))
    return "".join(np.random.default_rng(seed).choice(letters, length))


def slow_share(train: list[str], valid: list[str]) -> float:
    """Sets of passages, word for word."""

    def shingles(text: str) -> list[str]:
        spaced = "".join(" " if c.isspace() else c for c in text.lower())
        while "  " in spaced:
            spaced = spaced.replace("  ", " ")
        return [spaced[at : at + SHINGLE] for at in range(len(spaced) - SHINGLE + 1)]

    known = {shingle for text in train for shingle in shingles(text)}
    hits = [shingle in known for text in valid for shingle in shingles(text)]
    return sum(hits) / len(hits) if hits else 0.0


pieces = st.lists(st.sampled_from([noise(70, 1), noise(90, 2), noise(64, 3), " \n ", "\n", "a", " "]), max_size=6)
documents = st.lists(pieces.map("".join), max_size=3)


@settings(deadline=None, max_examples=50)
@given(documents, documents, st.sampled_from([1, 7, 64, 100, 1 << 18]), st.sampled_from([TOKENIZER, WIDE]))
def test_shares_equal_their_slow_twin(
    train: list[str], valid: list[str], block: int, tokenizer: CharTokenizer
) -> None:
    train_ids = [(f"t{n}", tokenizer.encode(text)) for n, text in enumerate(train)]
    valid_ids = [(f"v{n}", tokenizer.encode(text)) for n, text in enumerate(valid)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_TOKENS", block)
        patch.setattr(shingles, "BLOCK", block)
        patch.setattr(module, "_FILTER_BITS", 8)
        patch.setattr(shingles, "_NEAR_BITS", 8)
        found = overlap(train_ids, valid_ids, tokenizer)
        patch.setattr(module, "FEW_DOCUMENTS", -1)
        quick = overlap(train_ids, valid_ids, tokenizer)
    assert found.share == pytest.approx(slow_share(train, valid))
    assert quick == found


@pytest.mark.parametrize("bits", [3, 10])
def test_a_sample_is_the_same_wherever_passages_stand(bits: int) -> None:
    random = np.random.default_rng(0)
    shared, other = noise(60_000, 1), [noise(int(n), int(n)) for n in random.integers(0, 400, 200)]
    train = [("a", encode("x" + shared[:30_000])), *((f"t{n}", encode(t)) for n, t in enumerate(other))]
    valid = [(f"v{n}", encode(t)) for n, t in enumerate(other)] + [("b", encode(shared))]
    coder, size = shingles.Coder(TOKENIZER), shingles.BLOCK
    samples = []
    for block in (3000, size):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(shingles, "BLOCK", block)
            patch.setattr(shingles, "_NEAR_BITS", 16)
            wanted = shingles.Wanted(valid, coder, bits)
            hits = [wanted.find(*each) for each in shingles.blocks(train, coder)]
            samples.append([wanted.hashes, wanted.documents, *map(np.concatenate, zip(*hits, strict=True))])
    for one, two in zip(*samples, strict=True):
        np.testing.assert_array_equal(one, two)
    assert len(samples[0][0]) == pytest.approx((60_000 + 22_000) / 2**bits, rel=0.35)
    found = module._overlap_of_samples(train, valid, TOKENIZER, bits, lambda _: None)
    assert {found.documents[f"v{n}"] for n in range(200)} <= {0.0, 1.0}
    assert found.documents["b"] == pytest.approx(0.5, abs=3 * (0.25 * 2**bits / 60_000) ** 0.5)


def test_of_very_many_documents_those_that_share_most_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FEW_DOCUMENTS", 0)
    monkeypatch.setattr(module, "MOST_NAMED", 2)
    texts = [noise(200, seed) for seed in range(4)]
    valid = [(f"v{n}", encode(text)) for n, text in enumerate(texts)]
    train = [("t0", encode(texts[1])), ("t1", encode(texts[3] + texts[3])), ("t2", encode("nothing"))]
    found = overlap(train, valid, TOKENIZER)
    assert found.documents == {"v1": 1.0, "v3": 1.0}
    assert found.share == pytest.approx(0.5, abs=0.01)
    assert found.sources == {"t0": pytest.approx(1 / 3, abs=0.01), "t1": pytest.approx(2 / 3, abs=0.01)}


@pytest.mark.parametrize("spec", ["bytes", "bpe:300", "char"])
def test_codes_are_those_of_the_text_whatever_its_tokens(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = ("plain words, then — “more” œuvres\n\nof 世界 and İ  again " * 7 + "ascii alone " * 40) * 3
    tokenizer = make_tokenizer(spec, [text])
    coder, ids = shingles.Coder(tokenizer), np.concatenate(list(tokenizer.encode_chunks([text])))
    whole = coder._of_text(text)
    for block in (7, 100, 1 << 19):
        monkeypatch.setattr(shingles, "BLOCK", block)
        np.testing.assert_array_equal(np.concatenate(list(coder.pieces(ids))), whole)


def test_case_and_line_ends_do_not_hide_a_copy() -> None:
    text = "It was the best of times.\nIt was the worst of times.  It was the age of wisdom " * 3
    other = text.upper().replace(" ", "\n")
    assert overlap([("a", encode(text))], [("b", encode(other))], TOKENIZER).share == 1.0


def test_large_texts_are_estimated_by_a_sample() -> None:
    shared = noise(150_000, 4)
    train = [("one", encode(noise(200_000, 5))), ("two", encode("a" + shared))]
    valid = [("old", encode(shared)), ("new", encode(noise(300_000, 6)))]
    found = overlap(train, valid, TOKENIZER)
    assert found.documents == {"old": 1.0, "new": 0.0}
    assert found.share == pytest.approx(1 / 3, abs=0.03)
    assert found.sources == {"two": 1.0}


def test_the_note_says_where() -> None:
    shared = noise(3000, 7)
    valid = [("alice", encode(shared + noise(7000, 8))), ("emma", encode(noise(90_000, 9)))]
    found = overlap([("copy", encode(shared))], valid, TOKENIZER)
    note = found.note()
    assert note is not None
    assert note.startswith("2.9 % of the validation text occurs in the training text (alice: 3")
    assert "emma" not in note
    assert "most of it in copy" in note
    assert overlap([("none", encode(noise(3000, 10)))], valid, TOKENIZER).note() is None
    assert overlap([], [], TOKENIZER).note() is None
