# Copyright: (c) 2026, the provider.fleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ELF headers (elf(5)): for which processor a program is, and which interpreter loads it."""

from __future__ import annotations

import struct

from ..record import Record

MAGIC = b"\x7fELF"
PT_INTERP = 3
MOST_PROGRAM_HEADERS = 64  # compilers write about a dozen
NEEDED = 65536  # bytes from the beginning of a file that :func:`read` looks at, at most


class Elf(Record):
    """What the header of a program says."""

    machine: tuple[int, int, int]  # class (32 or 64 bits), byte order, e_machine
    interpreter: str | None  # path of the dynamic linker; None for a static program


def read(start: bytes) -> Elf | None:
    """Of the first bytes of a file; None if it is no whole ELF header."""
    if start[:4] != MAGIC or len(start) < 64:
        return None
    bits, order = start[4], start[5]
    if bits not in (1, 2) or order not in (1, 2):
        return None
    byte_order = "<" if order == 1 else ">"
    try:
        (machine,) = struct.unpack_from(byte_order + "18xH", start)
        # e_phoff, e_phentsize, e_phnum of Elf32_Ehdr and Elf64_Ehdr
        layout = "28xI10xHH" if bits == 1 else "32xQ14xHH"
        offset, size, count = struct.unpack_from(byte_order + layout, start)
        if count > MOST_PROGRAM_HEADERS:
            return None
        interpreter = None
        for place in range(offset, offset + size * count, size or 1):
            # p_type, p_offset, p_filesz of Elf32_Phdr and Elf64_Phdr
            layout = "II8xI" if bits == 1 else "I4xQ16xQ"
            kind, begin, length = struct.unpack_from(byte_order + layout, start, place)
            if kind == PT_INTERP:
                text = start[begin : begin + length]
                if len(text) != length or not length:
                    return None
                interpreter = text.rstrip(b"\0").decode("utf-8", "surrogateescape")
    except (struct.error, OverflowError):
        return None
    return Elf((bits, order, machine), interpreter)
