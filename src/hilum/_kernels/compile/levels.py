"""Levels of processors that the library has code for, and the function that finds this machine's."""

from typing import NamedTuple

_V3 = ("avx", "avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave")
_V4 = (*_V3, "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl")


class Level(NamedTuple):
    """Name of a level; processor and features for LLVM."""

    name: str
    processor: str
    features: str


def levels_of(triple: str) -> tuple[Level, ...]:
    """The levels of a machine, as LLVM names it; the lowest first."""
    if not triple.startswith("x86_64"):
        return (Level("baseline", "generic", ""),)
    v3, v4 = (",".join(f"+{feature}" for feature in features) for features in (_V3, _V4))
    return Level("baseline", "x86-64", ""), Level("v3", "x86-64-v3", v3), Level("v4", "x86-64-v4", v4)


def _bits(*places: int) -> int:
    total = sum(1 << place for place in places)
    return total - (1 << 32 if total >> 31 else 0)  # LLVM writes numbers with a sign


_LEAF_1 = _bits(0, 9, 12, 13, 19, 20, 22, 23, 27, 28, 29)
"""Of ECX: SSE3, SSSE3, FMA, CMPXCHG16B, SSE4.1, SSE4.2, MOVBE, POPCNT, OSXSAVE, AVX, F16C."""

_EXTENDED, _LZCNT = _bits(0, 31), _bits(5)

_SAVED_V3, _SAVED_V4 = _bits(1, 2), _bits(1, 2, 5, 6, 7)
"""Of XCR0: the registers that the operating system saves, of SSE, AVX and AVX-512."""

_LEAF_7_V3, _LEAF_7_V4 = _bits(3, 5, 8), _bits(16, 17, 28, 30, 31)
"""Of EBX: BMI1, AVX2 and BMI2; AVX-512 F, DQ, CD, BW and VL."""


def level_function(triple: str, export: str) -> str:
    """LLVM code of ``int hilum_level()``, which asks the processor and returns the index of its highest level.

    See "Intel 64 and IA-32 Architectures Software Developer's Manual", volume 2, CPUID and XGETBV, and the levels in
    "System V Application Binary Interface, AMD64 Architecture Processor Supplement".
    """
    head = f"define {export}i32 @hilum_level()"
    if not triple.startswith("x86_64"):
        return f"{head} {{ ret i32 0 }}"

    def ask(name: str, leaf: int, register: int) -> str:
        places = "={ax},={bx},={cx},={dx},{ax},{cx},~{dirflag},~{fpsr},~{flags}"
        answer = "{i32, i32, i32, i32}"
        return f"""
  %{name}_all = call {answer} asm sideeffect "cpuid", "{places}"(i32 {leaf}, i32 0)
  %{name} = extractvalue {answer} %{name}_all, {register}"""

    def check(name: str, value: str, bits: int) -> str:
        return f"""
  %{name}_bits = and i32 %{value}, {bits}
  %{name} = icmp eq i32 %{name}_bits, {bits}"""

    return f"""{head} {{{ask("highest", 0, 0)}{ask("leaf1", 1, 2)}{check("leaf1_has", "leaf1", _LEAF_1)}
  %leaf7_is = icmp uge i32 %highest, 7
  %go_on = and i1 %leaf7_is, %leaf1_has
  br i1 %go_on, label %more, label %baseline
more:
  %saved_all = call {{i32, i32}} asm sideeffect "xgetbv", "={{ax}},={{dx}},{{cx}}"(i32 0)
  %saved = extractvalue {{i32, i32}} %saved_all, 0
{ask("leaf7", 7, 1)}{ask("extended", _EXTENDED, 2)}
{check("lzcnt", "extended", _LZCNT)}{check("saves3", "saved", _SAVED_V3)}{check("has3", "leaf7", _LEAF_7_V3)}
{check("saves4", "saved", _SAVED_V4)}{check("has4", "leaf7", _LEAF_7_V4)}
  %some3 = and i1 %saves3, %has3
  %is3 = and i1 %some3, %lzcnt
  %some4 = and i1 %saves4, %has4
  %is4 = and i1 %some4, %is3
  %one = zext i1 %is3 to i32
  %two = zext i1 %is4 to i32
  %level = add i32 %one, %two
  ret i32 %level
baseline:
  ret i32 0
}}"""
