"""What is written once, and where, in the text of a function."""

from sley.backends.llvm.emit.writer import Writer
from sley.backends.llvm.target import host_target


def writer():
    return Writer(host_target("x86-64"))


def test_an_operation_is_written_once():
    w = writer()
    first = w.op("add i64 %lo, 1")
    assert w.op("add i64 %lo, 1") == first
    assert w.op("add i64 %lo, 2") != first
    assert w.text().count("add") == 2


def test_what_a_loop_leaves_alone_is_written_before_it():
    w = writer()
    with w.loop():
        w.line("br label %outer")
        i = w.register()
        with w.loop():
            w.line("br label %inner")
            j = w.register()
            fixed = w.op("add i64 %lo, 1")
            middle = w.op(f"add i64 {i}, {fixed}")
            w.op(f"add i64 {j}, {middle}")
    lines = [line.split(" = ")[-1].strip() for line in w.text().splitlines()]
    assert lines == [
        "add i64 %lo, 1",
        "br label %outer",
        f"add i64 {i}, {fixed}",
        "br label %inner",
        f"add i64 {j}, {middle}",
    ]


def test_a_result_of_a_branch_is_not_known_behind_it():
    w = writer()
    with w.branch():
        inside = w.op("add i64 %lo, 1")
    assert w.op("add i64 %lo, 1") != inside


def test_a_loop_moves_work_no_further_than_the_branch_around_it():
    w = writer()
    with w.branch():
        w.line("then:")
        with w.loop():
            w.line("br label %loop")
            inside = w.op("add i64 %lo, 1")
    assert w.text().index("then:") < w.text().index(inside) < w.text().index("br")
    assert w.op("add i64 %lo, 1") != inside


def test_what_reads_memory_stays_where_it_is():
    w = writer()
    with w.loop():
        w.line("br label %loop")
        first = w.here("load i64, ptr %args")
        assert w.here("load i64, ptr %args") != first
    assert w.text().index("br") < w.text().index(first)
