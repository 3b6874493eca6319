"""Make the lists of a corpus: see ``python create_data.py --help``."""

import sys

from mvector.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("create_data"))
