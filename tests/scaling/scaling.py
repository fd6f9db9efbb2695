"""Where the simulation is, for the tests beside it."""

import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "benches/scaling"), str(ROOT / "tests/template")]
