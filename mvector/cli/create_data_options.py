"""The options of ``create_data.py`` and what its ``--help`` tells."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from mvector.cli.clips import ChannelOption
from mvector.cli.common import WorkerOptions, bool_option, parse_number, parse_seconds
from mvector.cli.options import Condition, Options, option, optional, required
from mvector.corpus.cutting import Vad
from mvector.corpus.recipes import SCANS, SCANS_WITH_TRIALS

DATASETS = sorted([*SCANS, *SCANS_WITH_TRIALS, "csv"])
DEFAULT_OUTPUT = "dataset"

DESCRIPTION = """\
Make the lists of a corpus: find its clips, decode each one once, leave out the broken ones, set
test speakers aside, and write into the output folder

  train_list.txt    clips to train on
  enroll_list.txt   one clip or more of each test speaker, as the voice on file
  trials_list.txt   the other clips of the test speakers, each compared with every enrolled one
  trials_pairs*.txt published trials, as pairs of clips (CN-Celeb, 3D-Speaker, and --trials)
  bad_clips.txt     clips left out, and why (only if there are any)

A list has one clip a line: its path, a tab, the speaker's number from 0. Nobody is both a training
and a test speaker. Paths are relative to the folder you run this in, so run train.py there too.
"""

EPILOG = """\
what each corpus must look like (dataset/README.md tells more, and where each comes from):
  cnceleb   --path is the folder that holds one or both of these, or one of them:
              CN-Celeb_flac/data/id00000/*.flac             clips of all speakers
              CN-Celeb_flac/dev/dev.lst                     names of the training speakers
              CN-Celeb_flac/eval/enroll/id00800-enroll.flac
              CN-Celeb_flac/eval/test/id00800-singing-01-001.flac
              CN-Celeb_flac/eval/lists/{enroll,trials}.lst  published trials, if there
              CN-Celeb2_flac/data/id10000/*.flac            more training speakers
            Training and test speakers are as published.
  voxceleb  --path is VoxCeleb 1 or 2 or the folder that holds both, in any of the usual layouts:
              vox1/dev/wav/id10001/1zcIwhmdeo4/00001.wav    wav, flac or m4a
              vox1/test/wav/id10270/5r0dWxy17C8/00001.wav   folders named *test*: test speakers
              vox2/dev/aac/id00012/21Uxsk56VDQ/00001.m4a    needs pip install av
            --trials takes veri_test2.txt (Vox1-O), list_test_all2.txt (E), list_test_hard2.txt (H).
  zhvoice   --path is the folder zhvoice, or the one that holds it:
              zhvoice/zhaidatatang/G0002/*.mp3              sub-corpus / speaker / clip
  aishell1  data_aishell/wav/{train,dev,test}/S0002/*.wav   S0002.tar.gz in wav/ must be unpacked
  aishell3  {train,test}/wav/SSB0005/*.wav
  librispeech
            LibriSpeech/train-clean-100/19/198/*.flac       any subsets; dev-* and test-* are tests
  3dspeaker {train,test}/3D_SPK_00001/*.wav, files/trials_cross_*
  kaldi     --path is a data folder: wav.scp (files, no commands), utt2spk, and, where there are
            segments, these are cut to 16 kHz FLAC in <output>/segments/<speaker>/<utterance>.flac
  csv       --path is a CSV or TSV file with a header: a column of paths (path, file, wav, audio
            ...) relative to its folder, one of speakers (speaker, speaker_id, spk, label ...) and,
            if you like, one of train, dev and test (split, part ...)
  folder    --path is a folder with one folder for each speaker:
              my_corpus/alice/1.wav
              my_corpus/alice/phone/2.m4a                   folders below are the same speaker's
              my_corpus/bob/1.flac
            wav, flac, ogg, opus, mp3, aiff; m4a, aac, mp4, webm with pip install av.
  Hidden files are skipped. An mp3 beside a wav of the same name is the same recording: the wav
  is taken.

examples:
  python create_data.py --dataset cnceleb --path dataset
  python create_data.py --dataset zhvoice --path dataset/zhvoice --convert_mp3 True
  python create_data.py --dataset folder --path my_corpus --test_speakers 20
  python create_data.py --dataset folder --path my_corpus --test_speakers 0 --output dataset/all
  python create_data.py --dataset voxceleb --path /data --trials veri_test2.txt --output dataset/vox
  python create_data.py --dataset csv --path my_corpus/clips.tsv --speaker_column client_id
  python create_data.py --dataset kaldi --path data/train --do_vad energy --output dataset/kaldi
  python create_data.py --merge dataset/cnceleb dataset/vox --output dataset/all
  python create_data.py --merge a/train_list.txt b/train_list.txt --output dataset/all
"""


def _parse_speakers(text: str) -> int | float:
    if text.strip().isdecimal():
        return int(text)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a number of speakers (20) nor a share of them below 1 (0.1)"
        )
    return value


def _column(name: str, example: str) -> str | None:
    return optional(f"csv: column of the {name}s, as {example}", "NAME")


@dataclass(frozen=True, kw_only=True)
class OutputOption(Options):
    output: str = option(DEFAULT_OUTPUT, "where the lists go (default: %(default)s)", "DIR")


@dataclass(frozen=True, kw_only=True)
class Merge(OutputOption):
    merge: Sequence[str] = required(
        "instead of --dataset: join finished training lists, or all lists of folders; the speakers "
        "of each get numbers of their own, the audio is not needed",
        "LIST",
        nargs="+",
    )


@dataclass(frozen=True, kw_only=True)
class Scan(WorkerOptions, OutputOption, ChannelOption):
    dataset: str = required("layout of the corpus, see below", choices=DATASETS)
    path: str = required("where the corpus lies (csv: the table)", "DIR")
    min_duration: float = option(
        0.5, "leave out clips shorter than this (default: %(default)s)", "S", parse_seconds
    )
    do_vad: Vad = option(  # noqa: RUF009
        "none",
        "keep the speech of each clip alone, in 16 kHz FLAC files in <output>/trimmed, and list "
        "these; energy needs librosa, silero needs silero-vad and onnxruntime (default: "
        "%(default)s)",
        choices=get_args(Vad),
    )
    convert_mp3: bool = bool_option(
        False,
        "write a 16 kHz wav beside each good mp3 and list that, since mp3 reads slowly; takes "
        "0.12 GB an hour of speech (default: %(default)s)",
    )
    test_speakers: int | float | None = optional(
        "test speakers: a number (20), a share of all (0.1), or 0 to train on everyone (default: "
        "a tenth, from 2 to 200; corpora without test speakers of their own)",
        "N",
        _parse_speakers,
    )
    enroll_clips: int = option(
        1,
        "clips of each test speaker to enrol (default: %(default)s, so that a trial compares two "
        "clips as infer_contrast.py does; not cnceleb)",
        "N",
        parse_number,
    )
    seed: int = option(
        0, "another seed, another split (default: %(default)s; not cnceleb)", parse=int
    )
    skip_check: bool = bool_option(
        False,
        "trust the corpus and open no clip: quick, but broken clips are then met in training "
        "(default: %(default)s)",
    )
    trials: Sequence[str] = option(
        (),
        "published trials, 'label clip clip' a line, to write as pairs of our paths; may be given "
        "again; their speakers do not train (voxceleb, 3dspeaker, kaldi)",
        "FILE",
        action="append",
    )
    path_column: str | None = _column("path", "file")
    speaker_column: str | None = _column("speaker", "client_id")
    split_column: str | None = _column("split", "subset")

    def conditions(self) -> tuple[Condition, ...]:
        is_divided = self.dataset != "cnceleb"
        unchecked = "with --skip_check True: no clip is decoded"
        own_test = "with --dataset cnceleb, which comes with its own test speakers"
        with_trials = self.dataset in SCANS_WITH_TRIALS
        columns = "path_column speaker_column split_column"
        return (
            *super().conditions(),
            ("min_duration num_workers do_vad convert_mp3", not self.skip_check, unchecked),
            ("convert_mp3", self.do_vad == "none", "with --do_vad, which writes FLAC files"),
            ("convert_mp3", self.channel is None, "with --channel: the lists name a channel of it"),
            ("test_speakers enroll_clips seed", is_divided, own_test),
            ("trials", with_trials, f"without --dataset {' or '.join(SCANS_WITH_TRIALS)}"),
            (columns, self.dataset == "csv", "without --dataset csv"),
        )
