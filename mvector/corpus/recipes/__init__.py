"""Corpora on disk: which clips there are, who speaks in each, and what each is for.

A scan only reads folders and lists. It gives a flat list of :class:`Clip`, from those corpora that
are published with trials also the :class:`PublishedTrials`. Clips of corpora without test speakers
of their own are split by :mod:`mvector.corpus.splitting` once they are checked.
"""

from mvector.corpus.recipes.aishell import scan_aishell1, scan_aishell3
from mvector.corpus.recipes.clip import MIN_SPEAKERS, Clip, Part, Segment, name_some
from mvector.corpus.recipes.cnceleb import cnceleb_trials, scan_cnceleb
from mvector.corpus.recipes.folder import scan_folder
from mvector.corpus.recipes.kaldi import scan_kaldi
from mvector.corpus.recipes.librispeech import scan_librispeech
from mvector.corpus.recipes.pairs import PublishedTrials, WrittenPairs, write_pairs
from mvector.corpus.recipes.table import scan_csv
from mvector.corpus.recipes.three_d_speaker import scan_3dspeaker
from mvector.corpus.recipes.voxceleb import scan_voxceleb
from mvector.corpus.recipes.walk import listed_path
from mvector.corpus.recipes.zhvoice import scan_zhvoice

__all__ = [
    "MIN_SPEAKERS",
    "Clip",
    "Part",
    "PublishedTrials",
    "Segment",
    "WrittenPairs",
    "cnceleb_trials",
    "listed_path",
    "name_some",
    "scan_3dspeaker",
    "scan_aishell1",
    "scan_aishell3",
    "scan_cnceleb",
    "scan_csv",
    "scan_folder",
    "scan_kaldi",
    "scan_librispeech",
    "scan_voxceleb",
    "scan_zhvoice",
    "write_pairs",
]
