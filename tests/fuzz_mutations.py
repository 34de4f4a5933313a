"""Ways to hurt a file: bits, chunks, lengths, numbers, value representations. See `fuzz_inputs`."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from fuzz_inputs import Bytes, Part, Span

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

_NUMBER = re.compile(rb"[+-]?\d[\d.eE+-]*")
_NASTY_TEXT = (
    b"", b"nan", b"inf", b"-inf", b"0", b"-0", b"-1", b"1e308", b"-1e308", b"1e-308", b"1e999", b"9" * 40, b"65535",
    b"65536", b"2147483647", b"2147483648", b"-2147483649", b"18446744073709551616", b"1_0", b"0x10", b"1,5", b"1e",
    b"\xd9\xa3", b"\\", b"\0", b"\x1b[2J", b"%n%s", b"../../etc/passwd", b"/dev/zero", b"A" * 3000, b" ", b"1.5", b"3",
)  # fmt: skip
_NASTY_WORDS = tuple(
    struct.pack(form, value)
    for form, value in (
        ("<H", 0), ("<H", 1), ("<H", 0x7FFF), ("<H", 0x8000), ("<H", 0xFFFF), ("<I", 0), ("<I", 1), ("<I", 0x7FFFFFFF),
        ("<I", 0x80000000), ("<I", 0xFFFFFFFF), ("<f", float("nan")), ("<f", float("inf")), ("<f", -1.0), ("<f", 1e38),
        ("<f", 0.0), ("<f", 1e-38), (">H", 1), (">I", 16), ("<Q", 2**63), ("<d", float("nan")), ("<d", 1e308),
    )
)  # fmt: skip
_VRS = (
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ZZ".split()
)
_TAGS = [(0x0028, 0x0008), (0x0028, 0x0010), (0x0028, 0x1053), (0x0020, 0x0032), (0xFFFE, 0xE000), (0xFFFE, 0xE0DD),
         (0x5200, 0x9230), (0x7FE0, 0x0010), (0x0008, 0x0005), (0, 0), (0xFFFF, 0xFFFF), (0x0009, 0x0010)]  # fmt: skip


def hurt(part: Part, rng: random.Random) -> tuple[Bytes, list[str]]:
    """Hurt a part in one to three ways, and say how."""
    whole, story = Bytes(part.data, part.mark), []
    special: list[Callable[[Bytes, Part, random.Random], str]] = {
        "dicom": [_length, _length, _vr, _tag, _value, _value, _value, _word, _junk_element],
        "text": [_number, _number, _number, _line, _line],
        "table": [_number, _number, _number, _line, _line],
        "binary": [_word],
    }[part.kind]
    general = [_flip, _flip, _overwrite, _cut, _insert, _delete, _repeat, _swap]
    for k in range(rng.choice((1, 1, 1, 2, 3))):
        # Units of the format stand where they stood only before the first mutation.
        ways = special * 2 + general if k == 0 else general
        story.append(rng.choice(ways)(whole, part, rng))
    return whole, story


def _place(whole: Bytes, part: Part, rng: random.Random) -> int:
    head = min(part.head, len(whole.data))
    stop = head if rng.random() < 0.85 and head else len(whole.data)
    return rng.randrange(stop) if stop else 0


def _chunk(whole: Bytes, part: Part, rng: random.Random) -> tuple[int, int]:
    if part.spans and len(whole.data) == len(part.data) and rng.random() < 0.7:
        span = rng.choice(part.spans)
        return span.start, span.stop
    start = _place(whole, part, rng)
    return start, min(len(whole.data), start + rng.choice((1, 2, 4, 8, 30, 200)))


def _flip(whole: Bytes, part: Part, rng: random.Random) -> str:
    places = [_place(whole, part, rng) for _ in range(rng.choice((1, 1, 2, 8))) if whole.data]
    for at in places:
        whole.put(at, at + 1, bytes([whole.data[at] ^ 1 << rng.randrange(8)]))
    return f"bits flipped at {places}"


def _overwrite(whole: Bytes, part: Part, rng: random.Random) -> str:
    at, size = _place(whole, part, rng), rng.choice((1, 1, 2, 4, 16))
    new = bytes([rng.choice((0, 0xFF, 0x7F, 0x80, 0x20, 0x0A))]) * size if rng.random() < 0.5 else rng.randbytes(size)
    whole.put(at, min(at + size, len(whole.data)), new[: len(whole.data) - at])
    return f"{size} bytes overwritten at {at}"


def _cut(whole: Bytes, part: Part, rng: random.Random) -> str:
    at = rng.choice((_place(whole, part, rng), max(0, len(whole.data) - rng.randrange(1, 40)), 0))
    # A file cut off says so or is not read, whatever was in the part that is gone: no byte of it counts as decisive.
    # A table of text alone has no end that could be missing.
    whole.touched |= part.kind == "table" and any(whole.mark[at:])
    whole.data[at:], whole.mark[at:] = b"", b""
    return f"cut off at {at}"


def _insert(whole: Bytes, part: Part, rng: random.Random) -> str:
    at, new = _place(whole, part, rng), rng.choice((b"\0", b"\n", b"\x1b[2J", b"(", rng.randbytes(7), b"\0" * 4096))
    whole.put(at, at, new)
    return f"{len(new)} bytes inserted at {at}"


def _delete(whole: Bytes, part: Part, rng: random.Random) -> str:
    start, stop = _chunk(whole, part, rng)
    whole.put(start, stop, b"")
    return f"bytes {start} to {stop} deleted"


def _repeat(whole: Bytes, part: Part, rng: random.Random) -> str:
    start, stop = _chunk(whole, part, rng)
    times = rng.choice((1, 1, 3, 50))
    whole.put(stop, stop, bytes(whole.data[start:stop]) * times, bytes(whole.mark[start:stop]) * times)
    return f"bytes {start} to {stop} repeated {times} times"


def _swap(whole: Bytes, part: Part, rng: random.Random) -> str:
    (a, b), (c, d) = sorted((_chunk(whole, part, rng), _chunk(whole, part, rng)))
    if b > c:
        return _flip(whole, part, rng)
    first, between, second = bytes(whole.data[a:b]), bytes(whole.data[b:c]), bytes(whole.data[c:d])
    marks = bytes(whole.mark[c:d]) + bytes(whole.mark[b:c]) + bytes(whole.mark[a:b])
    whole.put(a, d, second + between + first, marks)
    return f"bytes {a} to {b} and {c} to {d} swapped"


def _number(whole: Bytes, part: Part, rng: random.Random) -> str:
    found = list(_NUMBER.finditer(bytes(whole.data[: part.head])))
    if not found:
        return _flip(whole, part, rng)
    match, new = rng.choice(found), rng.choice(_NASTY_TEXT)
    whole.put(*match.span(), new)
    return f"the number at {match.start()} is {new[:30]!r}"


def _line(whole: Bytes, part: Part, rng: random.Random) -> str:
    span, new = rng.choice(part.spans), rng.choice(_NASTY_TEXT)
    whole.put(span.value, span.stop, new + b"\n")
    return f"the value at {span.value} is {new[:30]!r}"


def _word(whole: Bytes, part: Part, rng: random.Random) -> str:
    span, new = (
        rng.choice(part.spans) if part.spans else Span(*[_place(whole, part, rng)] * 3),
        rng.choice(_NASTY_WORDS),
    )
    at = span.value
    whole.put(at, min(at + len(new), len(whole.data)), new[: len(whole.data) - at])
    return f"the word at {at} is {new.hex()}"


# ---------------------------------------------------------------- DICOM elements


def _header(whole: Bytes, span: Span) -> tuple[str, int, int]:
    """Form of the length, where it stands, and where the value representation would."""
    wide = span.value - span.start == 12 or not whole.data[span.start + 4 : span.start + 6].isalpha()
    return ("I", span.value - 4, 4) if wide else ("H", span.value - 2, 2)


def _length(whole: Bytes, part: Part, rng: random.Random) -> str:
    span = rng.choice(part.spans)
    form, at, size = _header(whole, span)
    true = span.stop - span.value
    far = rng.choice(part.spans).stop - span.value  # up to the end of some other element
    new = rng.choice((0, 1, true + 1, true + 2, true - 1, true - 2, true * 2, far, far, 0x7FFF, 0xFFFE, 0xFFFF, -1))
    new &= (1 << 8 * size) - 1
    # A length that reaches over the elements behind makes their bytes part of its value.
    whole.touched |= any(whole.mark[span.stop : span.value + new]) and new > true
    whole.put(at, at + size, struct.pack(f"{part.order}{form}", new))
    return f"the length at {at} is {new}, not {true}"


def _vr(whole: Bytes, part: Part, rng: random.Random) -> str:
    span, new = rng.choice(part.spans), rng.choice(_VRS)
    whole.put(span.start + 4, span.start + 6, new)
    return f"the value representation at {span.start} is {new.decode()}"


def _tag(whole: Bytes, part: Part, rng: random.Random) -> str:
    span, new = rng.choice(part.spans), rng.choice(_TAGS)
    whole.put(span.start, span.start + 4, struct.pack(f"{part.order}HH", *new))
    whole.touched |= new[0] in {0x28, 0x20, 0x5200, 0x7FE0}  # it says now what decides
    return f"the tag at {span.start} is {new[0]:04X},{new[1]:04X}"


def _value(whole: Bytes, part: Part, rng: random.Random) -> str:
    """Another value under a length that is right."""
    span = rng.choice(part.spans)
    form, at, size = _header(whole, span)
    old = bytes(whole.data[span.value : span.stop])
    new = rng.choice((*_NASTY_TEXT, *_NASTY_WORDS, rng.randbytes(len(old)), old * 2, old + b"\\" + old))
    if rng.random() < 0.3:
        new = _NUMBER.sub(lambda _: rng.choice(_NASTY_TEXT), old, count=rng.choice((0, 1)))
    new = (new + b" " * (len(new) % 2))[: (1 << 8 * size) - 2]
    whole.put(span.value, span.stop, new)
    whole.put(at, at + size, struct.pack(f"{part.order}{form}", len(new)))
    return f"the value at {span.value} is {new[:30]!r}"


def _junk_element(whole: Bytes, part: Part, rng: random.Random) -> str:
    """A private element, or an endless nest of sequences, between two others."""
    span = rng.choice(part.spans)
    deep = struct.pack("<HH2sHIHHI", 0x0009, 0x1001, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    new = rng.choice((struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 4) + b"\x1b[2J", deep * rng.choice((1, 50, 2000))))
    whole.put(span.start, span.start, new)
    return f"{len(new)} bytes of other elements inserted at {span.start}"
