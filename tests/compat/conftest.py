"""Published checkpoints, computed from their keys; see ``tests/models/reference_weights.py``."""

from __future__ import annotations

import sys
from pathlib import Path

# the published keys and embeddings lie with the tests of the backbones
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))
