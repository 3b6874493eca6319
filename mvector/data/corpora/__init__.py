"""Corpora on disk: which clips there are, who speaks in each, and what each is for.

A scan only reads folders and lists. It gives a flat list of :class:`Clip`, from those corpora that
are published with trials also the :class:`PublishedTrials`. Clips of corpora without test speakers
of their own are split by :mod:`mvector.data.splitting` once they are checked.
"""

from mvector.data.corpora.aishell import scan_aishell1, scan_aishell3
from mvector.data.corpora.clip import MIN_SPEAKERS, Clip, Part, Segment, name_some
from mvector.data.corpora.cnceleb import cnceleb_trials, scan_cnceleb
from mvector.data.corpora.folder import scan_folder
from mvector.data.corpora.kaldi import scan_kaldi
from mvector.data.corpora.librispeech import scan_librispeech
from mvector.data.corpora.pairs import PublishedTrials, WrittenPairs, write_pairs
from mvector.data.corpora.table import scan_csv
from mvector.data.corpora.three_d_speaker import scan_3dspeaker
from mvector.data.corpora.voxceleb import scan_voxceleb
from mvector.data.corpora.walk import listed_path
from mvector.data.corpora.zhvoice import scan_zhvoice

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
