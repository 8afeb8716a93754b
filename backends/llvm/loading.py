"""Object files into memory without LLVM, whose loading takes longer, and more memory, than all else
that a program needs which was found on disk.

What LLVM writes for kernels on x86-64 Linux is known: code, data, calls, and relocations relative
to the instruction. Of anything else `load` makes nothing, and LLVM links it.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

_HEADER = struct.Struct("<6s10xHH20xQ10xHHH")  # magic, type, machine, sections: place, size, count
_SECTION = struct.Struct("<4xIQ8xQQIIQ8x")
_SYMBOL = struct.Struct("<IBxHQ8x")
_RELOCATION = struct.Struct("<QQq")
_KERNEL_FILE = b"\x7fELF\x02\x01", 1, 62, 64  # 64 bits, relocatable, x86-64

_PROGBITS, _SYMTAB, _RELA, _ZEROS, _UNWIND = 1, 2, 4, 8, 0x70000001  # sections
_WRITE, _ALLOC, _EXECUTE, _KNOWN = 1, 2, 4, 0x37  # flags; of _KNOWN also merged constants, strings
_PLAIN = (0, 1, 2, 3)  # symbols: without type, data, function, section
_ABSOLUTE, _RELATIVE, _CALL, _TABLE = 1, 2, 4, (9, 41, 42)  # relocations

_PAGE = 4096  # bytes
_LINE = 64  # bytes of a line of the cache: where the code of an object begins
_ENTRY = 16  # bytes of the table: an address, and a jump to it
_JUMP = b"\xff\x25\xf2\xff\xff\xff\x90\x90"  # to the address that lies 8 bytes before


class Unsupported(Exception):
    """The objects hold, or need, what only LLVM can link."""


class _Section(NamedTuple):
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int


class _Symbol(NamedTuple):
    """`section` is 0 for a symbol that is defined elsewhere."""

    name: str
    local: bool
    kind: int
    section: int
    value: int


class _Object:
    """An object file. `places`: where in the image each of its sections lies."""

    def __init__(self, content: bytes) -> None:
        magic, type_, machine, first, size, count, _ = _HEADER.unpack_from(content)
        if (magic, type_, machine, size) != _KERNEL_FILE:
            raise Unsupported("no relocatable file for x86-64")
        self.content = content
        places = range(first, first + count * size, size)
        self.sections = [_Section(*_SECTION.unpack_from(content, place)) for place in places]
        tables = [section for section in self.sections if section.type == _SYMTAB]
        self.symbols = [symbol for table in tables for symbol in self._symbols(table)]
        self.places: dict[int, int] = {}

    def _symbols(self, table: _Section) -> Iterator[_Symbol]:
        names = self.sections[table.link].offset
        for name, info, section, value in _SYMBOL.iter_unpack(self.bytes_of(table)):
            text = self.content[names + name : self.content.index(b"\0", names + name)]
            yield _Symbol(text.decode(), info >> 4 == 0, info & 15, section, value)

    def bytes_of(self, section: _Section) -> bytes:
        if section.type == _ZEROS:
            return bytes(section.size)
        return self.content[section.offset : section.offset + section.size]

    def relocations(self) -> Iterator[tuple[int, int, _Symbol, int]]:
        """(place in the image, kind, symbol, addend) of those in the sections that have a place."""
        for section in self.sections:
            if section.type == _RELA and section.info in self.places:
                for offset, info, addend in _RELOCATION.iter_unpack(self.bytes_of(section)):
                    place = self.places[section.info] + offset
                    yield place, info & 0xFFFFFFFF, self.symbols[info >> 32], addend


class Loaded:
    """Object files in memory, unloaded when this object goes.

    Attributes:
        addresses: of what they define.

    Raises:
        Unsupported: they hold, or need, what only LLVM can link.
    """

    def __init__(self, objects: Sequence[bytes], symbols: Mapping[str, int]) -> None:
        self._image = bytearray()
        self._offsets: dict[str, int] = {}  # of what the objects define
        files = [_Object(content) for content in objects]
        for file in files:  # what is written to has pages of its own
            self._place(file, _WRITE)
        self._align(_PAGE)
        code = len(self._image)
        for file in files:
            self._place(file, 0)
            self._define(file)
        self._table = self._table_of(files, symbols)
        size = len(self._image)
        self._base = _memory(size, self)
        self.addresses = {name: self._base + at for name, at in self._offsets.items()}
        for file in files:
            for place, kind, symbol, addend in file.relocations():
                self._relocate(place, kind, self._target(file, symbol, kind) + addend)
        for name, (at, address) in self._table.items():
            struct.pack_into("<Q8s", self._image, at, self.addresses.get(name, address), _JUMP)
        ctypes.memmove(self._base, bytes(self._image), size)
        # From now on it can be run, and not be written to.
        use = mmap.PROT_READ | mmap.PROT_EXEC
        if _libc().mprotect(self._base + code, size - code, use) != 0:
            raise Unsupported("this system runs no memory that was written to")

    def _place(self, file: _Object, writable: int) -> None:
        """Appends the sections of a file that are or are not written to, but for those to unwind
        by: no error passes kernels."""
        for number, section in enumerate(file.sections):
            if not section.flags & _ALLOC or not section.size or section.type == _UNWIND:
                continue
            if section.type not in (_PROGBITS, _ZEROS) or section.flags & ~_KNOWN:
                raise Unsupported("memory of another kind")
            if section.flags & _WRITE != writable:
                continue
            self._align(max(section.alignment, _LINE if section.flags & _EXECUTE else 1))
            file.places[number] = len(self._image)
            self._image += file.bytes_of(section)

    def _define(self, file: _Object) -> None:
        for symbol in file.symbols:
            if symbol.local or symbol.section == 0:
                continue
            known = symbol.section in file.places and symbol.kind in _PLAIN
            if not known or symbol.name in self._offsets:
                raise Unsupported(f"the definition of {symbol.name!r}")
            self._offsets[symbol.name] = file.places[symbol.section] + symbol.value

    def _align(self, alignment: int) -> None:
        self._image += bytes(-len(self._image) % alignment)

    def _table_of(
        self, files: Sequence[_Object], symbols: Mapping[str, int]
    ) -> dict[str, tuple[int, int]]:
        """Room behind the files for the addresses that code reads, and for jumps to what may be too
        far for a call: name to (place, address; 0 for the files' own)."""
        found: dict[str, tuple[int, int]] = {}
        self._align(_ENTRY)
        for file in files:
            for _, kind, symbol, _ in file.relocations():
                name, own = symbol.name, symbol.name in self._offsets
                far = kind == _CALL and symbol.section == 0 and not own
                if symbol.local or name in found or not (kind in _TABLE or far):
                    continue
                found[name] = len(self._image), 0 if own else symbols.get(name) or _of_process(name)
                self._image += bytes(_ENTRY)
        return found

    def _target(self, file: _Object, symbol: _Symbol, kind: int) -> int:
        """The address that a relocation means."""
        entry = None if symbol.local else self._table.get(symbol.name)
        if kind in _TABLE:
            if entry is not None:
                return self._base + entry[0]
        elif symbol.section in file.places and symbol.kind in _PLAIN:
            return self._base + file.places[symbol.section] + symbol.value
        elif symbol.section == 0 and symbol.name in self.addresses:
            return self.addresses[symbol.name]
        elif kind == _CALL and entry is not None:
            return self._base + entry[0] + _ENTRY // 2
        raise Unsupported(f"the symbol {symbol.name!r}")

    def _relocate(self, place: int, kind: int, value: int) -> None:
        if kind == _ABSOLUTE:
            struct.pack_into("<Q", self._image, place, value)
        elif kind in (_RELATIVE, _CALL, *_TABLE):
            struct.pack_into("<i", self._image, place, value - (self._base + place))
        else:
            raise Unsupported(f"relocations of the kind {kind}")


def load(objects: Sequence[bytes], symbols: Mapping[str, int]) -> Loaded | None:
    """The objects in memory; None where LLVM has to link them, or to say what is wrong.

    A symbol is looked for in the objects, then in `symbols`, then in the process.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        return None
    try:
        return Loaded(objects, symbols)
    except (Unsupported, struct.error, ValueError, IndexError):  # the last three: a damaged file
        return None


def _of_process(name: str) -> int:
    """The address of a function that the process has loaded."""
    try:
        return ctypes.cast(_libc()[name], ctypes.c_void_p).value or 0
    except AttributeError:
        raise Unsupported(f"{name!r} is defined nowhere") from None


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None)
    address, size, number = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    libc.mmap.restype = address
    libc.mmap.argtypes = (address, size, number, number, number, ctypes.c_long)
    libc.mprotect.argtypes = (address, size, number)
    libc.munmap.argtypes = (address, size)
    return libc


def _memory(size: int, owner: object) -> int:
    """The address of memory that is given back when `owner` goes; not at the end of the process,
    when threads may still be inside."""
    kind, use = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE
    address = _libc().mmap(None, size, use, kind, -1, 0)
    if address in (None, ctypes.c_void_p(-1).value):
        raise Unsupported("no memory")
    weakref.finalize(owner, _libc().munmap, address, size).atexit = False
    return int(address)
