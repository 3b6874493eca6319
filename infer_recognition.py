"""``python infer_recognition.py --help`` tells how to use it."""

import sys

from mvector.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("recognition"))
