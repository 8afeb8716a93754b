"""Object code on disk: found again, never trusted when damaged, bounded."""

from __future__ import annotations

import os

from sley.runtime.cache import ObjectCache


def test_what_was_put_is_found(tmp_path):
    cache = ObjectCache(tmp_path / "new" / "folder")
    assert cache.get("a") is None
    cache.put("a", b"content")
    assert ObjectCache(tmp_path / "new" / "folder").get("a") == b"content"
    assert not [p for p in (tmp_path / "new" / "folder").iterdir() if p.suffix != ".o"]


def test_it_is_made_once(tmp_path):
    cache, made = ObjectCache(tmp_path), []
    for _ in range(2):
        assert cache.fetch("a", lambda: made.append(1) or b"x") == b"x"
    assert made == [1]


def test_a_damaged_file_counts_as_absent(tmp_path):
    cache = ObjectCache(tmp_path)
    for damage in (lambda b: b[:-1], lambda b: b[:10], lambda b: b"", lambda b: b[:-1] + b"?"):
        cache.put("a", b"some content")
        (path,) = tmp_path.iterdir()
        path.write_bytes(damage(path.read_bytes()))
        assert cache.get("a") is None
        assert not path.exists()


def test_the_longest_unused_go_first(tmp_path):
    cache = ObjectCache(tmp_path, max_bytes=3 * (100 + 32))
    for number, key in enumerate("abcde"):
        cache.put(key, bytes(100))
        os.utime(tmp_path / f"{key}.o", (number, number))
    assert cache.get("b") is not None  # used now
    cache.trim()
    assert {p.stem for p in tmp_path.iterdir()} == {"b", "d", "e"}


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    cache = ObjectCache(tmp_path / "file" / "below")
    cache.put("a", b"content")
    assert cache.get("a") is None
