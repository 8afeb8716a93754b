"""The environment variables: defaults, values, and errors that name the variable."""

from pathlib import Path

import pytest

from sley.runtime import config as module


def test_defaults():
    settings = module.read({"XDG_CACHE_HOME": "/somewhere"})
    assert settings.num_threads >= 1
    assert settings.cpu == "host"
    assert settings.dump is None
    assert settings.log == frozenset()
    assert settings.verify is False
    assert settings.blocking is False
    assert settings.tune is False
    assert settings.cache_dir == Path("/somewhere/sley")


def test_values():
    settings = module.read(
        {
            "SLEY_NUM_THREADS": "3",
            "SLEY_CPU": "x86-64-v3",
            "SLEY_DUMP": "/tmp",
            "SLEY_LOG": "cache, Fuse,",
            "SLEY_VERIFY": "1",
            "SLEY_GUARD": "End",
            "SLEY_BLOCKING": "yes",
            "SLEY_TUNE": "on",
            "SLEY_CACHE_DIR": "off",
        }
    )
    assert settings == module.Config(
        num_threads=3,
        cpu="x86-64-v3",
        dump=Path("/tmp"),
        log=frozenset({"cache", "fuse"}),
        verify=True,
        guard="end",
        blocking=True,
        tune=True,
        cache_dir=None,
    )


def test_an_empty_variable_is_not_set():
    assert module.read({"SLEY_NUM_THREADS": " ", "SLEY_CPU": ""}).cpu == "host"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLEY_NUM_THREADS", "0"),
        ("SLEY_NUM_THREADS", "-2"),
        ("SLEY_NUM_THREADS", "two"),
        ("SLEY_NUM_THREADS", "5000"),
        ("SLEY_CPU", "z80"),
        ("SLEY_VERIFY", "perhaps"),
        ("SLEY_GUARD", "middle"),
        ("SLEY_DUMP", __file__),
    ],
)
def test_a_bad_value_names_the_variable(name, value):
    with pytest.raises(ValueError, match=name) as caught:
        module.read({name: value})
    assert value in str(caught.value) and "expected" in str(caught.value)


def test_reload_reads_again(monkeypatch):
    before = module.config()
    monkeypatch.setenv("SLEY_NUM_THREADS", "7")
    assert module.config() is before
    assert module.reload().num_threads == 7
    monkeypatch.undo()
    assert module.reload() == before
