"""The compiled loops over texts equal NumPy's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aeattn.data import rows, shingles
from aeattn.data.lookup import ByteTable
from aeattn.data.tokenizer import CharTokenizer
from aeattn.host import cxx
from aeattn.kernels import build, texts

pytestmark = pytest.mark.skipif(cxx() is None, reason="needs a C++ compiler")
LETTERS = CharTokenizer("\n ab")


@pytest.fixture(autouse=True)
def everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "WORTH", 0)


@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from([b"", b"a" * 32, b"\xff" * 64_000]))))
def test_hashes_of_rows(found: list[bytes]) -> None:
    data = np.frombuffer(b"".join(found), np.uint8)
    ends = np.cumsum([0, *map(len, found)], dtype=np.int64)
    assert texts.row_hashes(data, ends).tolist() == rows.hashes_of(data, ends).tolist()


@given(st.binary(max_size=300), st.integers(0, 9))
def test_bytes_by_a_table(content: bytes, seed: int) -> None:
    table = np.random.default_rng(seed).integers(0, 256, 256).astype(np.uint8)
    quick = ByteTable(table).take(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(build.SWITCH, "off")
        slow = ByteTable(table).take(content)
    assert quick.tolist() == slow.tolist() == table[list(content)].tolist()


@given(st.text(" ab\n", max_size=300), st.sampled_from([1, 20, 1000]), st.booleans())
def test_white_space_and_passages(piece: str, times: int, after_space: bool) -> None:
    codes = np.concatenate([np.zeros(0, np.uint8), *shingles.Coder(LETTERS).pieces(LETTERS.encode(piece * times))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(build.SWITCH, "off")
        slow = shingles._squeezed(codes, after_space)
    quick = shingles._squeezed(codes, after_space)
    assert (quick[0].tolist(), quick[1]) == (slow[0].tolist(), slow[1])


@pytest.mark.parametrize("bits", [1, 5, 8, 11])
@pytest.mark.parametrize("length", [0, 63, 64, 1023, 1087, 1088, 5000])
def test_likely_passages(bits: int, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shingles, "_NEAR_BITS", 10)
    random = np.random.default_rng(length)
    codes = random.integers(0, 256, length).astype(np.uint8)
    wanted = shingles.Wanted([("v", LETTERS.encode("a b" * 100))], shingles.Coder(LETTERS), bits)
    wanted._near[random.integers(0, 1 << 10, 500)] = True
    wanted._near_bits = np.packbits(wanted._near, bitorder="little")
    quick = wanted.likely(codes)
    monkeypatch.setenv(build.SWITCH, "off")
    slow = wanted.likely(codes)
    assert quick.tolist() == slow.tolist()
    assert len(slow) or length < 5000
