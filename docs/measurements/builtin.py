"""The curves that are built into parlinalg: medians over several profiles of this host.

    python docs/measurements/builtin.py [--profiles 5] [--out parlinalg/profile.json]

Five profiles take five minutes, in which nothing else should run. The probe is that of a new process, as is the one
that it will be compared with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

import parlinalg
from parlinalg.model import Candidate, Curve, Model
from parlinalg.profiles import FORMAT, load, to_json

PROBE = """
import json
from parlinalg.probe import seconds_of_probe
from parlinalg.workers import default_workers
print(json.dumps(list(seconds_of_probe(default_workers()).items())))
"""
EVERYWHERE = ("openmp", "numpy")  # what needs no set-up


def profiles(number: int) -> list[Model]:
    """So many of this host."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for k in range(number):
            os.environ["PARLINALG_PROFILE"] = str(Path(folder, f"{k}.json"))
            model = load(parlinalg.tune())
            assert model is not None
            found.append(replace(model, probe=probe_of_new_process()))
            print(f"{k + 1} of {number}", flush=True)
    return found


def probe_of_new_process() -> dict[Candidate, float]:
    """What the probe finds where it is needed first."""
    said = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout
    return {Candidate(*one): seconds for one, seconds in json.loads(said)}


def medians(models: list[Model]) -> Model:
    """One model of them."""
    first = models[0]
    curves = {
        kind: {one: median_curve([m.curves[kind][one] for m in models]) for one in of_kind if one.backend in EVERYWHERE}
        for kind, of_kind in first.curves.items()
    }
    return Model(curves, probe={one: median(m.probe[one] for m in models) for one in first.probe})


def median_curve(curves: list[Curve]) -> Curve:
    """Of curves over the same sizes."""
    return Curve(curves[0].nbytes, tuple(map(median, zip(*(one.seconds for one in curves), strict=True))))


def text_of(model: Model) -> str:
    """A line for each curve."""
    data = to_json(model)
    kinds = [
        f"  {json.dumps(kind)}: [\n" + ",\n".join(f"   {json.dumps(one)}" for one in of_kind) + "\n  ]"
        for kind, of_kind in data.pop("curves").items()
    ]
    rest = ",\n".join(f" {json.dumps(name)}: {json.dumps(value)}" for name, value in data.items())
    return f'{{\n "format": {FORMAT},\n "curves": {{\n' + ",\n".join(kinds) + "\n },\n" + rest + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=5, help="how many to take")
    parser.add_argument("--out", type=Path, default=Path("parlinalg/profile.json"))
    arguments = parser.parse_args()
    arguments.out.write_text(text_of(medians(profiles(arguments.profiles))), encoding="utf-8")


if __name__ == "__main__":
    main()
