"""Corpora on disk: which clips there are, who speaks in each, and what each is for.

A scan only reads folders and lists. It gives a flat list of ``Clip``, from those corpora that are
published with trials also the ``PublishedTrials``. Clips of corpora without test speakers of their
own are split by :mod:`mvector.corpus.splitting` once they are checked.
"""

from collections.abc import Callable

from mvector.corpus.recipes.aishell import scan_aishell1, scan_aishell3
from mvector.corpus.recipes.clip import Clip
from mvector.corpus.recipes.cnceleb import scan_cnceleb
from mvector.corpus.recipes.folder import scan_folder
from mvector.corpus.recipes.kaldi import scan_kaldi
from mvector.corpus.recipes.librispeech import scan_librispeech
from mvector.corpus.recipes.three_d_speaker import scan_3dspeaker
from mvector.corpus.recipes.voxceleb import scan_voxceleb
from mvector.corpus.recipes.zhvoice import scan_zhvoice

# Corpora by the names that create_data.py knows them by.
SCANS: dict[str, Callable[[str], list[Clip]]] = {
    "aishell1": scan_aishell1,
    "aishell3": scan_aishell3,
    "cnceleb": scan_cnceleb,
    "folder": scan_folder,
    "librispeech": scan_librispeech,
    "zhvoice": scan_zhvoice,
}
# Those that files of trials can be given for, besides the path.
SCANS_WITH_TRIALS = {
    "3dspeaker": scan_3dspeaker,
    "kaldi": scan_kaldi,
    "voxceleb": scan_voxceleb,
}
