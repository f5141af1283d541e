"""Files that are whole or not there, cache entries, and the one lock."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
from pathlib import Path

import pytest

from aeattn import files
from aeattn.errors import Damaged, InputError, SlowerWarning
from aeattn.files import Lock, cache_entry, cached, cached_json, replacing


def _entry(path: Path, content: bytes = b"content") -> files.Json:
    def make(partial: Path) -> files.Json:
        partial.write_bytes(content)
        return {"n": 1}

    return cached(path, make)


def _refuse(partial: Path) -> None:
    raise AssertionError("it was there")


def test_an_entry_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a"
    made = _entry(path)
    assert cached(path, _refuse) == made
    assert path.read_bytes() == b"content"
    assert sorted(p.name for p in path.parent.iterdir()) == ["a", "a.json"]


@pytest.mark.parametrize("name", ["a", "a.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b"null", b"\xff", b"conten"])
def test_a_damaged_entry_is_made_anew_after_one_line(name: str, damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a"
    whole = _entry(path)
    (tmp_path / name).write_bytes(damage)
    with pytest.warns(SlowerWarning, match="is made anew"):
        assert _entry(path) == whole
    assert cached(path, _refuse) == whole
    assert path.read_bytes() == b"content"


def test_a_json_entry_is_known_by_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    assert cached_json(path, lambda: {"n": 1}) == {"n": 1}
    path.write_text(path.read_text().replace('"n": 1', '"n": 2'))
    with pytest.warns(SlowerWarning, match="not what was written"):
        assert cached_json(path, lambda: {"n": 1}) == {"n": 1}


def test_threads_do_not_share_a_partial_file(tmp_path: Path) -> None:
    both, partials = threading.Barrier(2), []

    def write(content: bytes) -> None:
        with cache_entry(tmp_path / "a") as partial:
            both.wait()
            partial.write_bytes(content)
            partials.append(partial)
            both.wait()
            assert partial.read_bytes() == content

    threads = [threading.Thread(target=write, args=(content,)) for content in (b"one", b"two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(partials)) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() in (b"one", b"two")


def _die_with_a_partial_file(path: Path) -> None:
    with cache_entry(path) as partial:
        partial.write_bytes(b"half")
        os._exit(9)


def test_what_a_killed_process_left_is_cleared_by_the_next(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=_die_with_a_partial_file, args=(tmp_path / "a",))
    process.start()
    process.join()
    (left,) = tmp_path.iterdir()
    with cache_entry(tmp_path / "b") as ours:  # that of a process that lives stays
        assert not left.exists()
        with cache_entry(tmp_path / "c") as other:
            other.touch()
        assert ours.exists()


def test_only_the_file_system_is_blamed_for_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="AEATTN_CACHE"), cache_entry(tmp_path / "file" / "a"):
        pass
    with pytest.raises(OSError, match="the compiler failed"), cache_entry(tmp_path / "a"):
        raise OSError("the compiler failed")


def test_links_are_replaced_and_not_followed(tmp_path: Path) -> None:
    theirs, link = tmp_path / "theirs", tmp_path / "link"
    theirs.write_text("theirs")
    link.symlink_to(theirs)
    with replacing(link) as temporary:
        temporary.write_text("ours")
    assert (theirs.read_text(), link.read_text(), link.is_symlink()) == ("theirs", "ours", False)
    files.beside(link).symlink_to(theirs)
    with replacing(link) as temporary:
        temporary.write_text("ours again")
    assert (theirs.read_text(), link.read_text()) == ("theirs", "ours again")


def test_what_is_too_large_to_read_is_not_written(tmp_path: Path) -> None:
    values = {"names": ["n" * 100] * 20}
    with pytest.raises(InputError, match="at most"):
        files.write_json(tmp_path / "a.json", values, most=1000)
    assert not list(tmp_path.iterdir())
    files.write_json(tmp_path / "a.json", values)
    assert files.read_json(tmp_path / "a.json", "bad") == values


def test_other_content_is_damage_and_a_missing_file_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there") as caught:
        files.read_json(tmp_path / "a.json", "bad")
    assert not isinstance(caught.value, Damaged)
    for content in ("", "[1]", json.dumps({"a": "x" * 100})):
        (tmp_path / "a.json").write_text(content)
        with pytest.raises(Damaged, match=r"bad: a\.json"):
            files.read_json(tmp_path / "a.json", "bad", most=50)


def test_a_lock_on_a_file_and_on_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "file", tmp_path):
        with Lock(path), pytest.raises(InputError, match="busy"):
            Lock(path, "busy")
        Lock(path).release()
