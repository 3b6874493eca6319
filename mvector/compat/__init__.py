"""Checkpoints of other toolkits: WeSpeaker, 3D-Speaker, SpeechBrain, mvector 1.x and others.

One module per toolkit says what it publishes and how it computes features; names of layers are in
:mod:`mvector.compat.key_tables` and ``key_tables2d``; a family is recognised in
:mod:`mvector.compat.families`, and its sizes are read in ``readers1d`` and ``readers2d``.
"""

from mvector.compat.conversion import SOURCES, Conversion, convert
from mvector.compat.exporting import TARGETS, export_checkpoint, save_state
from mvector.compat.getting import GotModel, get_published
from mvector.compat.importing import ImportedModel, import_checkpoint

__all__ = [
    "SOURCES",
    "TARGETS",
    "Conversion",
    "GotModel",
    "ImportedModel",
    "convert",
    "export_checkpoint",
    "get_published",
    "import_checkpoint",
    "save_state",
]
