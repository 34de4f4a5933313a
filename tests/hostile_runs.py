"""Opens run folders that a stranger spoiled with every command that takes one, and judges; a process of its own.

    python tests/hostile_runs.py FOLDER SEED START STOP STEP

FOLDER holds ``run``, a finished run, and ``in``, its input. Each number is one spoiled copy. Prints the number before
it is opened and the verdict after; whoever called charges a hang or a death to the last number. A defect is a file
written outside the folders that belong to the command, a traceback, a control character or a line that is too long.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import unicodedata
from pathlib import Path

SECONDS = 60
RECORDS = (
    "scan.json",
    "ledger.jsonl",
    "recipe.toml",
    "preview.json",
    "review.csv",
    "dataset.json",
    "scans.csv",
    "SHA256SUMS",
)
NAMES = ("../../../victim", "/no/victim", "a/../../../../victim", "..", ".", "", "ct.nii.gz/../../x", "x\0y", "-rf",
         "CON", "ct\n.npy", "\x1b[2Jx", "a" * 5000, "link/victim", "\u202egnp.tc", "~/victim", "$HOME", "C:\\victim",
         "=cmd()", "<script>alert(1)</script>", "'\"><img src=x>", "%n%s", "ct.npy", "scan.json", "ledger.jsonl",
         ".lock")  # fmt: skip
NUMBERS = (0, -1, 1, 2, 1e308, -1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.1, 1e-9)
OTHERS = (None, True, [], {}, [[]], "", {"": ""})
LINKS = ("scan.json", "ct.npy", "ct.json", "preview.png", "preview.json", "lungs.npy", "ledger.jsonl", "recipe.toml",
         "dataset.json", "scans.csv", "SHA256SUMS", "review.csv", ".lock", ".review.lock", "report.html", "scans",
         "scan")  # fmt: skip
KINDS = ("link", "dangling", "fifo", "folder", "empty", "hard")


SCAN = "ct-" + hashlib.sha256(b"1.2.3.0").hexdigest()[:16]
"""One of the run's scans."""


def prepare(folder: Path) -> Path:
    """Make the run that is spoiled, and its input beside it."""
    import hilum
    from hilum import batch
    from hilum.phantom.chest import make_phantom
    from hilum.recipes import parse_recipe
    from hilum.train.folds import make_folds
    from hilum.viewer.reviews import save_review

    (folder / "in").mkdir(parents=True)
    with (folder / "in" / "annotations.csv").open("w") as table:
        table.write("seriesuid,coordX,coordY,coordZ,diameter_mm\n")
        for k in range(2):
            phantom = make_phantom(seed=k, shape=(24, 48, 48), spacing=(12.0, 8.0, 8.0))
            hilum.write(phantom.scan.ct, folder / "in" / f"1.2.3.{k}.mhd")
            for nodule in phantom.scan.nodules[:2]:
                table.write(f"1.2.3.{k},{','.join(map(str, nodule.center))},{nodule.diameter_mm}\n")
    text = '[resample]\nspacing_mm = 8.0\n[output]\nformat = "npy"\n'
    (folder / "recipe.toml").write_text(text)
    found = batch.survey([folder / "in"], annotations=folder / "in" / "annotations.csv")
    rows = batch.run(found.refs, parse_recipe(text), folder / "run", found=found)
    if any(row.reason for row in rows) or SCAN not in {row.id for row in rows}:
        raise RuntimeError(str(rows))
    save_review(folder / "run", SCAN, verdict="accept", comment="good")
    make_folds(folder / "run", count=2)
    return folder


def main(words: list[str]) -> int:
    folder, (seed, start, stop, step) = Path(words[0]), map(int, words[1:])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    watch = Watch()
    sys.dont_write_bytecode = True  # a library's first import would write beside it
    sys.addaudithook(watch.saw)
    stay_in_this_process()
    for number in range(start, stop, step):
        print(number, file=out)
        signal.alarm(SECONDS)
        story, defects = judge(folder, random.Random(f"{seed} {number}"), watch)  # noqa: S311 - places, no secrets
        signal.alarm(0)
        print(json.dumps([number, story, defects]), file=out)
    return 0


def stay_in_this_process() -> None:
    """Let `hilum store` convert scans in this process: the watch sees no other, and none has to be started."""
    from hilum.batch import convert, supervisor

    convert.make_rows = lambda jobs, workers, limits, watch: supervisor.make_rows(jobs, None, limits, watch)  # noqa: ARG005


class Watch:
    """Sees every file that this process opens for writing, makes, moves or removes."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.outside: list[str] = []

    def saw(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.allowed:
            return
        for place in touched(event, arguments):
            text = os.path.abspath(place)  # noqa: PTH100 - links are followed only where the system follows them
            real = os.path.realpath(text if event == "open" else os.path.dirname(text))  # noqa: PTH120 - as above
            if not real.startswith(self.allowed):
                self.outside.append(f"{event} {real}")


_CHANGES = {
    "os.rename": (0, 1), "os.link": (1,), "os.symlink": (1,), "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,),
    "os.truncate": (0,), "os.chmod": (0,), "os.utime": (0,), "shutil.rmtree": (0,),
}  # fmt: skip
"""Events by which something on the disk changes, and which of their arguments say where."""


def touched(event: str, arguments: tuple[object, ...]) -> list[str]:
    """The places that an audit event changes; a relative one is below a folder that was opened by another event."""
    if event == "open":
        path, mode, flags = arguments
        writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        named = isinstance(path, str | bytes) and (writes or (isinstance(mode, str) and set(mode) & set("wax+")))
        return [os.fsdecode(path)] if named else []
    places = [arguments[k] for k in _CHANGES.get(event, ())]
    found = [os.fsdecode(place) for place in places if isinstance(place, str | bytes | os.PathLike)]
    kept = [place for place in found if os.path.isabs(place)]  # noqa: PTH117 - a text
    return [place for place in kept if not (event == "os.mkdir" and Path(place).is_dir())]


def judge(folder: Path, rng: random.Random, watch: Watch) -> tuple[str, list[str]]:
    case = folder / "case"
    shutil.rmtree(case, ignore_errors=True)
    case.mkdir()
    (case / "victim").write_bytes(b"precious")
    run = case / "run"
    shutil.copytree(folder / "run", run)
    story = spoil(run, case / "victim", rng)
    before = tree(case)
    defects: list[str] = []
    commands = commands_of(run, folder / "in", case / "made")
    for words in rng.sample(commands, 5):
        (case / "made").mkdir(exist_ok=True)
        watch.outside = []
        watch.allowed = (str((case / "made").resolve()), str(run.resolve()), "/dev/", *CACHES)
        said, failure = call(words)
        watch.allowed = ()
        name = " ".join(words[:2])
        defects += [f"{name}: wrote outside: {place}" for place in watch.outside]
        defects += [f"{name}: {failure}"] if failure else []
        defects += [f"{name}: {bad}" for bad in map(unfit, said.splitlines()) if bad]
        shutil.rmtree(case / "made", ignore_errors=True)
        after = tree(case)
        defects += [
            f"{name}: changed {place}"
            for place in sorted(before.keys() | after)
            if before.get(place) != after.get(place)
        ]
    return story, defects


CACHES = tuple(os.path.realpath(os.path.expanduser(place)) for place in ("~/.cache", "~/.config"))  # noqa: PTH111


def commands_of(run: Path, inputs: Path, made: Path) -> list[list[str]]:
    recipe = str(inputs.parent / "recipe.toml")
    return [
        ["stats", str(run)],
        ["stats", str(run), "--json"],
        ["report", str(run)],
        ["report", str(run), "--out", str(made / "page.html")],
        ["verify", str(run)],
        ["verify", str(run), "--json"],
        ["store", str(run), "--format", "nifti", "--out", str(made / "stored")],
        ["store", str(run), "--format", "b2nd", "--out", str(made / "stored")],
        ["slices", str(run), "--out", str(made / "slices")],
        ["patches", str(run), "--size", "8", "--out", str(made / "patches")],
        ["export", "nnunet", str(run), "--out", str(made / "raw")],
        ["export", "nndetection", str(run), "--out", str(made / "det")],
        ["export", "monai", str(run), "--out", str(made / "list.json")],
        ["export", "coco3d", str(run), "--out", str(made / "coco.json")],
        ["export", "csv", str(run), "--out", str(made / "boxes.csv")],
        ["plot", "montage", str(run / "scans" / SCAN), "--out", str(made / "h.png")],
        ["folds", str(run), "--folds", "2", "--overwrite"],
        ["info", str(run)],
        ["recipe", "check", str(run / "recipe.toml")],
        ["(run)", str(inputs), str(run), recipe, ""],
        ["(run)", str(inputs), str(run), recipe, "overwrite"],
        ["(view)", str(run)],
        ["(dataset)", str(run)],
        ["(python)", str(run)],
    ]


def call(words: list[str]) -> tuple[str, str]:
    """Give a command as the program does; what it said, and a failure that is none of its refusals."""
    from hilum.cli import main as hilum
    from hilum.errors import HilumError

    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            if words[0] == "(view)":
                look(Path(words[1]))
            elif words[0] == "(dataset)":
                feed(Path(words[1]))
            elif words[0] == "(python)":
                use(Path(words[1]))
            elif words[0] == "(run)":
                again(*words[1:])
            else:
                hilum(words)
        except HilumError as refusal:
            error.write(f"{refusal}\n")
        except BaseException as failure:  # noqa: BLE001 - whatever else comes is what is looked for
            return out.getvalue() + error.getvalue(), f"{type(failure).__name__}: {failure}"[:300]
    said = out.getvalue() + error.getvalue()
    found = re.search(r"unexpected [\w.]+: [^\n]*|Traceback[^\n]*", said)
    return said, found[0] if found else ""


def look(run: Path) -> None:
    """What `hilum view` reads before and while a page is shown."""
    from hilum.viewer.reviews import read_reviews
    from hilum.viewer.sources import open_source

    source = open_source(run)
    source.session(read_reviews(run))
    for number in range(len(source.items)):
        from hilum.errors import HilumError

        with contextlib.suppress(HilumError):
            source.thumbnail(number)
        with contextlib.suppress(HilumError):
            source.open_scan(number)


def again(inputs: str, out: str, recipe: str, overwrite: str) -> None:
    """What `hilum run` does, in this process, which sees every file that is written."""
    from hilum import batch
    from hilum.recipes import recipe as find

    table = Path(inputs, "annotations.csv")
    found = batch.survey([Path(inputs)], annotations=table)
    batch.run(found.refs, find(recipe), Path(out), overwrite=bool(overwrite), found=found)


def feed(run: Path) -> None:
    from hilum.train.dataset import PatchDataset

    for item in list(PatchDataset(run, size=8))[:3]:
        item["image"].sum()


def use(run: Path) -> None:
    """What somebody does with a run in Python; each refusal is printed, and the next thing is tried."""
    import hilum

    opened = hilum.open_run(run)
    sys.stdout.write(f"{opened} {opened.status} {len(opened.refused)}\n")
    one_of = ("ct", "lungs", "nodule_mask", "label_maps", "nodules", "notes", "labels", "figures", "locations", "fold")
    tries = [lambda name=name, scan=scan: getattr(scan, name) for scan in opened for name in one_of]
    tries += [scan.scan for scan in (*opened, *opened.unlisted)]
    tries += [opened.table, lambda: opened.table(every=True), opened.folds, lambda: opened.recipe]
    tries += [lambda: opened["ct-"], lambda: opened._repr_html_() and "", lambda: opened[0]._repr_html_() and ""]
    for attempt in tries:
        try:
            sys.stdout.write(f"{hilum.errors.one_line(attempt())}\n")
        except (hilum.HilumError, IndexError) as refusal:
            sys.stdout.write(f"{refusal}\n")


def unfit(line: str) -> str:
    if any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in line):
        return f"control characters: {line[:200]!r}"
    return f"a line of {len(line)} characters" if len(line) > 301 and not line.startswith("{") else ""


def spoil(run: Path, victim: Path, rng: random.Random) -> str:
    """Spoil one thing or a few; half of the time with every checksum made to fit, as someone who means harm would."""
    if rng.random() < 0.3:
        return put_link(run, victim, rng)
    story, fits = [], rng.random() < 0.7
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(RECORDS)
        paths = sorted(run.rglob(name))
        if not paths:
            continue
        path = rng.choice(paths)
        if path.is_file() and not path.is_symlink():
            data, told = hurt(path.read_bytes(), rng)
            path.write_bytes(data)
            story.append(f"{path.relative_to(run)}: {told}")
    if fits:
        make_fit(run)
    return "; ".join(story) + (" (checksums fit)" if fits else "")


def put_link(run: Path, victim: Path, rng: random.Random) -> str:
    name, kind = rng.choice(LINKS), rng.choice(KINDS)
    scan = rng.choice(sorted((run / "scans").iterdir()))
    path = scan if name == "scan" else scan / name if (scan / name).exists() else run / name
    target = path.with_name(path.name + ".moved")
    if path.exists():
        path.rename(target)
        shutil.move(target, victim.parent / f"kept-{path.name}")
    kept = victim.parent / f"kept-{path.name}"
    kept = kept if kept.exists() else victim
    if kind == "hard" and kept.is_file():
        os.link(kept, path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        path.symlink_to(kept if kind != "dangling" else victim.parent / "made by a link")
    return f"{path.relative_to(run)} is a {kind}"


def hurt(data: bytes, rng: random.Random) -> tuple[bytes, str]:
    lines = data.splitlines(keepends=True)
    at = rng.randrange(len(lines)) if lines else 0
    way = rng.random()
    try:
        whole = json.loads(data) if not data.startswith(b'{"id"') else json.loads(lines[at])
    except (ValueError, IndexError):
        whole = None
    if whole is not None and way < 0.75:
        told = change(whole, rng)
        body = json.dumps(whole).encode("utf-8", "surrogatepass")
        if data.startswith(b'{"id"'):
            lines[at] = seal(body)
            return b"".join(lines), told
        return body, told
    if way < 0.85 and lines:
        word = rng.choice(NAMES + tuple(map(str, NUMBERS))).encode("utf-8", "surrogatepass")
        fields = re.split(rb"([,=: ])", lines[at])
        fields[rng.randrange(len(fields))] = word
        lines[at] = b"".join(fields)
        return b"".join(lines), f"line {at} says {word[:30]!r}"
    spoiled = bytearray(data)
    for _ in range(rng.choice((1, 3, 20))):
        if spoiled:
            spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
    cut = rng.randrange(len(spoiled) + 1) if rng.random() < 0.3 else len(spoiled)
    return bytes(spoiled[:cut]) * rng.choice((1, 1, 1, 3)), "bytes"


def seal(body: bytes) -> bytes:
    body = re.sub(rb', "check": "[^"]*"}$', b"}", body)[:-1]
    return body + b',"check":"' + hashlib.sha256(body).hexdigest()[:16].encode() + b'"}\n'


def change(value: object, rng: random.Random) -> str:
    """Change one thing somewhere in a JSON value."""
    path = []
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
        if not keys:
            return "nothing"
        key = rng.choice(keys)
        path.append(str(key)[:20])
        if isinstance(value[key], dict | list) and value[key] and rng.random() < 0.8:
            value = value[key]
            continue
        new = rng.choice((rng.choice(NAMES), rng.choice(NUMBERS), rng.choice(OTHERS)))
        if isinstance(value, dict) and rng.random() < 0.35:
            value[rng.choice(NAMES)] = value.pop(key)
            return f"{'/'.join(path)} has another name"
        if rng.random() < 0.1:
            del value[key]
            return f"{'/'.join(path)} is gone"
        value[key] = new
        return f"{'/'.join(path)} is {str(new)[:30]!r}"


def make_fit(run: Path) -> None:
    """Give the ledger and SHA256SUMS the checksums of what lies there."""
    book = run / "ledger.jsonl"
    lines = []
    for line in book.read_bytes().splitlines():
        try:
            row = json.loads(line)
            place = run / "scans" / row["id"] / "scan.json"
            if "scan_sha256" in row and place.is_file():
                row["scan_sha256"] = hashlib.sha256(place.read_bytes()).hexdigest()
            lines.append(seal(json.dumps(row).encode("utf-8", "surrogatepass")))
        except (ValueError, KeyError, TypeError, OSError):
            lines.append(line + b"\n")
    book.write_bytes(b"".join(lines))
    names = [name for name in ("recipe.toml", "dataset.json", "scans.csv") if (run / name).is_file()]
    sums = "".join(f"{hashlib.sha256((run / name).read_bytes()).hexdigest()}  {name}\n" for name in names)
    (run / "SHA256SUMS").write_text(sums)


def tree(case: Path) -> dict[str, bytes]:
    """Every file outside the run."""
    found = {}
    for root, folders, files in os.walk(case):
        if Path(root) == case:
            folders[:] = [name for name in folders if name not in {"run", "made"}]
        for name in (*files, *folders):
            path = Path(root, name)
            found[str(path)] = path.read_bytes() if path.is_file() else b"folder"
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
