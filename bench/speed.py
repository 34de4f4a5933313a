"""Compare the speed of hilum with the 2017 tutorial and other libraries, in turn on the same scans.

    python bench/speed.py [DICOM_FOLDER ...] [--rounds 3] [--slices 100 240 400] [--long 2000] [--out DIR]
                          [--parts whole batch stages agreement long]

1. Whole processes, cold but with compiled kernels: each contender on one scan, one after the other, round by round.
   All start with the scan's files in the page cache and with memory that was just touched (`clock.touch_memory`);
   otherwise the first contender of a round would wait for the disk, and the first after a long pause for memory. Short
   processes run up to five times per round, and their median counts, because a disturbance of the machine changes them
   more than long ones.
2. Scans inside a batch: one process, eight phantoms of 240 slices, the median of all but the first.
3. Stages on one scan inside one process, and a copy of the volume.
4. Growth: seconds and peak memory of whole processes from the fewest to the most slices; one very long scan.
5. Agreement with the tutorial's own code, if it is available.

The ratios count, because both sides were measured in the same run. Writes speed.md, speed.json and speed.png.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from contenders.clock import touch_memory

HERE = Path(__file__).resolve().parent
CONTENDERS = HERE / "contenders"
BATCH, BATCH_SLICES = 8, 240

SHORT_SECONDS, SHORT_RUNS = 5.0, 5
"""A short process is repeated in its round until it has run for so many seconds, or so many times."""

PEERS = {
    "hilum": ("hilum_tutorial.py", "hilum", ""),
    "tutorial": ("tutorial.py", "skimage", "pip install scikit-image scipy"),
    "SimpleITK": ("simpleitk.py", "SimpleITK", "pip install SimpleITK"),
    "MONAI": ("monai_transforms.py", "monai", "pip install monai itk torch"),
    "TorchIO": ("torchio_transforms.py", "torchio", "pip install torchio torch"),
}
"""By contender: its script, the module that it needs, and how to install that."""


PARTS = ("whole", "batch", "stages", "agreement", "long")


class Goal(NamedTuple):
    """A goal: its name, the measured value, the bound, and whether more is better."""

    name: str
    value: float
    bound: float
    more: bool = True

    @property
    def holds(self) -> bool:
        """Whether the bound is met."""
        return self.value >= self.bound if self.more else self.value <= self.bound


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", help="DICOM folders of real scans")
    parser.add_argument("--slices", type=int, nargs="*", default=[100, 240, 400], help="of the phantoms")
    parser.add_argument("--long", type=int, default=2000, help="slices of a scan for hilum alone; 0 for none")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="contenders")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=list(PARTS), help="of the five")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    peers = [name for name in PEERS if (not arguments.only or name in arguments.only) and _is_installed(name)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        results = measure(arguments, peers, Path(scratch))
    (arguments.out / "speed.json").write_text(json.dumps(results, indent=1))
    text = table(results)
    (arguments.out / "speed.md").write_text(text)
    print(text)
    if results["whole"]:
        plot(results, arguments.out / "speed.png")
    return 0 if all(goal.holds for goal in goals_of(results)) else 1


def _is_installed(name: str) -> bool:
    _, module, add = PEERS[name]
    if find_spec(module) is None:
        print(f"{name} is left out because it is not installed; to add it: {add}", file=sys.stderr)
        return False
    return True


def measure(arguments: argparse.Namespace, peers: list[str], scratch: Path) -> dict[str, Any]:
    """Run all parts; give seconds and GiB of every run."""
    print("writing phantoms", file=sys.stderr)
    for count in sorted({*arguments.slices, BATCH_SLICES}):
        seeds = range(BATCH) if count == BATCH_SLICES else range(1)
        _run("phantoms.py", scratch, count, *seeds)
    scans = {f"phantom of {count}": scratch / f"{count}-0" for count in sorted({*arguments.slices, BATCH_SLICES})}
    scans |= {folder.parent.name if folder.name == "image" else folder.name: folder for folder in arguments.folders}
    results: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    }
    results["whole"] = {name: {peer: [] for peer in peers} for name in scans if "whole" in arguments.parts}
    for turn in range(arguments.rounds if "whole" in arguments.parts else 0):
        for name, folder in scans.items():
            for peer in peers:
                print(f"round {turn + 1}: {peer}, {name}", file=sys.stderr)
                results["whole"][name][peer].append(_typical(peer, folder, scratch / "out"))
    batch = [scratch / f"{BATCH_SLICES}-{k}" for k in range(BATCH)]
    results["batch"] = {peer: [] for peer in ("hilum", "tutorial") if peer in peers and "batch" in arguments.parts}
    for turn in range(arguments.rounds):
        for peer in results["batch"]:
            print(f"round {turn + 1}: batch, {peer}", file=sys.stderr)
            # The tutorial needs minutes for eight scans; two are enough, because each takes the same time.
            sources = batch if peer == "hilum" else batch[:2]
            scans_of = _process(peer, sources, scratch / "out")["scans"]
            results["batch"][peer].append(median(sum(stages.values()) for stages in scans_of[1:]))
    results["stages"] = {}
    if "stages" in arguments.parts:
        print("stages", file=sys.stderr)
        results["stages"] = json.loads(_run("stages.py", batch[0], scratch / "out", "--runs", 3 * arguments.rounds))
    results["agreement"] = _agreement(scans) if "tutorial" in peers and "agreement" in arguments.parts else {}
    if arguments.long and "long" in arguments.parts:
        print(f"{arguments.long} slices", file=sys.stderr)
        _run("phantoms.py", scratch, arguments.long, 0)
        results["long"] = {
            "slices": arguments.long,
            **_process("hilum", [scratch / f"{arguments.long}-0"], scratch / "out"),
        }
    return results


def _agreement(scans: dict[str, Path]) -> dict[str, list[str]]:
    """Run `agreement.py` on the phantom of the stages and on the real scans."""
    results = {}
    for name, folder in scans.items():
        if not name.startswith("phantom") or name == f"phantom of {BATCH_SLICES}":
            print(f"agreement: {name}", file=sys.stderr)
            command = [sys.executable, HERE / "agreement.py", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            results[name] = [*done.stdout.splitlines()] if done.stdout else ["not compared"]
    return results


def _typical(peer: str, source: Path, out: Path) -> dict[str, Any]:
    """Give the median of a round's runs of one contender, and the seconds of each run."""
    runs = [_process(peer, [source], out)]
    while len(runs) < SHORT_RUNS and sum(run["seconds"] for run in runs) < SHORT_SECONDS:
        runs.append(_process(peer, [source], out))
    runs.sort(key=lambda run: run["seconds"])
    return {**runs[len(runs) // 2], "runs": [run["seconds"] for run in runs]}


def _process(peer: str, sources: list[Path], out: Path) -> dict[str, Any]:
    _prepare(sources)
    start = time.perf_counter()
    output: dict[str, Any] = json.loads(_run(PEERS[peer][0], *sources, out).splitlines()[-1])
    return {"seconds": time.perf_counter() - start, **output}


def _prepare(sources: list[Path]) -> None:
    """Bring the machine to the same state for every contender."""
    for source in sources:
        for file in source.iterdir():
            file.read_bytes()
    touch_memory()


def _run(script: str, *words: object) -> str:
    # Bytecode is kept even where the caller arguments for none: a user's machine has it.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, CONTENDERS / script, *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return done.stdout


def seconds_of(results: dict[str, Any], scan: str, peer: str) -> float:
    """Give the median seconds of a whole process."""
    return median(run["seconds"] for run in results["whole"][scan][peer])


def growth(results: dict[str, Any], key: str) -> tuple[float, float]:
    """Give the ratios of the largest phantom to the smallest, in slices and in `key`."""
    counts = sorted(int(name.rsplit(" ", 1)[1]) for name in results["whole"] if name.startswith("phantom"))
    ends = [median(run[key] for run in results["whole"][f"phantom of {n}"]["hilum"]) for n in (counts[0], counts[-1])]
    return counts[-1] / counts[0], ends[1] / ends[0]


def goals_of(results: dict[str, Any]) -> list[Goal]:
    """Compare the measured values with the goals."""
    goals = []
    one = f"phantom of {BATCH_SLICES}"
    whole = results["whole"].get(one, {})
    if len(results["batch"]) > 1:
        batch = {peer: median(runs) for peer, runs in results["batch"].items()}
        goals.append(Goal("a scan inside a batch, x the tutorial", batch["tutorial"] / batch["hilum"], 100))
    if "tutorial" in whole:
        goals.append(Goal("one cold process, x the tutorial", _ratio(results, one, "tutorial"), 40))
        goals += [
            Goal(f"a cold process on {scan}, x the tutorial", _ratio(results, scan, "tutorial"), 60)
            for scan in results["whole"]
            if not scan.startswith("phantom")
        ]
    if "SimpleITK" in whole:
        goals.append(Goal("one cold process, x SimpleITK", _ratio(results, one, "SimpleITK"), 6))
    goals += _stage_goals(results["stages"]) if results["stages"] else []
    if whole:
        peak = median(run["peak_gib"] for run in whole["hilum"])
        goals.append(Goal(f"peak memory at {BATCH_SLICES} slices, GiB", peak, 0.7, more=False))
    if "long" in results:
        goals.append(
            Goal(f"peak memory at {results['long']['slices']} slices, GiB", results["long"]["peak_gib"], 6, more=False)
        )
    lines = [line for output in results["agreement"].values() for line in output]
    if lines:
        goals.append(
            Goal("agreement lines that do not hold", sum(" holds " not in f"{n} " for n in lines), 0, more=False)
        )
    if sum(name.startswith("phantom") for name in results["whole"]) > 1:
        for key, name in (("seconds", "time"), ("peak_gib", "memory")):
            slices, more = growth(results, key)
            goals.append(Goal(f"exponent of {name} over slices", math.log(more) / math.log(slices), 1.0, more=False))
    return goals


def _stage_goals(runs: dict[str, dict[str, list[float]]]) -> list[Goal]:
    """Compare single stages with their goals."""
    stages = {peer: {name: median(times) for name, times in runs[peer].items()} for peer in runs}
    ours = stages["hilum"]
    wanted = (("load", 8), ("resample", 100), ("tutorial3d", 100), ("tutorial2d", 300), ("dilate", 150))
    goals = [Goal(f"{name}, x the tutorial", stages["tutorial"][name] / ours[name], bound) for name, bound in wanted]
    slower = ours["hilum lungs"] / ours["tutorial3d"]
    goals.append(Goal("default lungs, x hilum's tutorial3d", slower, 10, more=False))
    copies = ours["resample"] / stages["copy"]["scan"]
    goals.append(Goal("resample, copies of the input", copies, 8, more=False))
    goals.append(Goal("ct.nii.gz, seconds", ours["nii.gz, one core"], 0.4, more=False))
    return goals


def _ratio(results: dict[str, Any], scan: str, peer: str) -> float:
    """Give the median ratio of runs in the same round, which a drift of the machine does not change."""
    runs = zip(results["whole"][scan][peer], results["whole"][scan]["hilum"], strict=True)
    return median(other["seconds"] / ours["seconds"] for other, ours in runs)


def table(results: dict[str, Any]) -> str:
    """Format the results as Markdown."""
    lines = [
        f"Measured on {results['machine']}; medians, ratios to hilum in the same round.",
        "",
        "## Whole processes",
        "",
    ]
    lines += ["| scan | contender | seconds | spread | peak GiB | x hilum |", "| --- | --- | --- | --- | --- | --- |"]
    for scan, peers in results["whole"].items():
        for peer, runs in peers.items():
            times = [seconds for run in runs for seconds in run["runs"]]
            middle = seconds_of(results, scan, peer)
            peak = median(run["peak_gib"] for run in runs)
            spread = f"{min(times):.2f}-{max(times):.2f}"
            ratio = _ratio(results, scan, peer) if "hilum" in peers else math.nan
            lines.append(f"| {scan} | {peer} | {middle:.2f} | {spread} | {peak:.2f} | {ratio:.1f} |")
    lines += _stage_lines(results["stages"]) if results["stages"] else []
    for name, output in results["agreement"].items():
        lines += ["", f"## Agreement with the tutorial's code: {name}", "", *(f"    {line}" for line in output)]
    lines += ["", "## Marks", "", "| goal | measured | wanted | |", "| --- | --- | --- | --- |"]
    for goal in goals_of(results):
        sign = ">=" if goal.more else "<="
        lines.append(
            f"| {goal.name} | {goal.value:.2f} | {sign} {goal.bound:g} | {'holds' if goal.holds else 'FAILS'} |"
        )
    return "\n".join(lines) + "\n"


def _stage_lines(stages: dict[str, dict[str, list[float]]]) -> list[str]:
    """Format the stages as Markdown."""
    copies = {name: median(runs) for name, runs in stages["copy"].items()}
    lines = ["", f"## Stages, {BATCH_SLICES} slices, one process, warm", ""]
    lines += [
        "| stage | hilum ms | spread | tutorial ms | x | copies of the scan |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, runs in stages["hilum"].items():
        ours = median(runs)
        theirs = median(stages["tutorial"].get(name, [math.nan]))
        spread = f"{1000 * min(runs):.0f}-{1000 * max(runs):.0f}"
        ratio = ours / copies["scan"]
        lines.append(
            f"| {name} | {1000 * ours:.0f} | {spread} | {1000 * theirs:.0f} | {theirs / ours:.0f} | {ratio:.1f} |"
        )
    lines.append(f"| one copy | {1000 * copies['scan']:.1f} | | | | 1.0 |")
    shared = [name for name in stages["hilum"] if name in stages["tutorial"]]
    worst = max(shared, key=lambda name: median(stages["hilum"][name]))
    return [*lines, "", f"Furthest from a copy, of the tutorial's stages: {worst}."]


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw seconds of whole processes over the contenders, on a log scale."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    scans = list(results["whole"])
    peers = list(results["whole"][scans[0]])
    width = 0.8 / len(peers)
    for k, peer in enumerate(peers):
        heights = [seconds_of(results, scan, peer) for scan in scans]
        positions = [x + k * width for x in range(len(scans))]
        axes.bar(positions, heights, width, label=peer)
        for x, height in zip(positions, heights, strict=True):
            axes.annotate(f"{height:.1f}", (x, height), ha="center", va="bottom", fontsize=7)
    axes.set_yscale("log")
    axes.set_ylabel("seconds, whole process")
    axes.set_xticks([x + 0.4 - width / 2 for x in range(len(scans))], scans)
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    sys.exit(main())
