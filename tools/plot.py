"""Pictures of clips, voices and trainings: see ``python tools/plot.py --help``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # works from a clone

from mvector.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("plot"))
