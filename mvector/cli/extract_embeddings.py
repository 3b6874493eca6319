"""``tools/extract_embeddings.py``: the embeddings of a list's clips, for other programs to use."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mvector.cli.clips import ChannelOption
from mvector.cli.common import ModelOptions, max_duration_option, parse_number, print_left_out
from mvector.cli.options import Action, Command, Condition, flag, option, optional, required
from mvector.errors import DataError, count_of
from mvector.files import read_errors_as, read_utf8

if TYPE_CHECKING:
    import numpy as np

    from mvector.data.lists import ClipList
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.embedding.extraction import ListedClip

_DESCRIPTION = """\
Compute the embedding of every clip of a list once, and write them into one file. The suffix of OUT
says which:

  .npz            numpy: arrays paths, embeddings, labels, fingerprint
  .safetensors    tensors embeddings and labels; paths (JSON) and fingerprint in the metadata
  .ark            Kaldi: binary float vectors keyed by path, with an index .scp beside it
  .parquet        columns path, embedding, label (needs pip install pyarrow)

LIST holds clips 'path<TAB>label', paths alone, or trials, each clip of which is taken once; or it
is a packed corpus, whose clips are called as in the list that it was packed from.
Embeddings are not length-normalised. The fingerprint is that of the model and, where it heard only
the beginning of longer clips, of how much; compare embeddings of one fingerprint only. Clips that
cannot be used are left out, counted, and listed in OUT.bad_clips.txt.

Until all is done, the work lies in OUT.partial. If it is cut off (Ctrl-C, a crash, kill -9), the
same command goes on where it ended.
"""

_EPILOG = """\
examples:
  python tools/extract_embeddings.py dataset/test_list.txt test.npz
  python tools/extract_embeddings.py clips.txt clips.parquet --model_path models/CAMPPlus_Fbank/best
  python tools/extract_embeddings.py voxceleb1_O.txt o.ark --data_root /corpora/VoxCeleb1
  python tools/extract_embeddings.py dataset/train_packed teacher.npz --model_path models/teacher
  torchrun --nproc_per_node 8 tools/extract_embeddings.py dataset/train_list.txt train.safetensors
"""


@dataclass(frozen=True, kw_only=True)
class Extract(ModelOptions, ChannelOption):
    source: str = required(
        "clips, with or without labels, trials, or a packed corpus", "LIST", positional=True
    )
    out: str = required(
        "file to write: .npz, .safetensors, .ark or .parquet", "OUT", positional=True
    )
    data_root: str | None = optional("where relative paths of the list start", "DIR")
    batch_size: int = option(16, "default: %(default)s", "N", parse_number)
    max_duration: float | None = max_duration_option()
    precision: Literal["float32", "bfloat16"] = option(
        "float32",
        "bfloat16 is faster where the hardware has it (GPUs since Ampere, CPUs with AVX-512 BF16 "
        "or AMX), by the engine torch; embeddings differ a little (default: %(default)s)",
        choices=("float32", "bfloat16"),
    )
    cache: str | None = optional(
        "keep embeddings here for later runs too (default: OUT.partial, removed at the end)", "DIR"
    )
    overwrite: bool = flag("replace OUT if it is there")

    def conditions(self) -> tuple[Condition, ...]:
        from mvector.data.packed import is_packed

        is_list, where = not is_packed(self.source), "with a packed corpus, which holds its clips"
        return (
            *super().conditions(),
            ("precision", self.engine != "onnx", "with --engine onnx, which has float32 only"),
            ("data_root", is_list, where),
            ("channel", is_list, where),
        )


def run(args: Extract) -> int:
    """Extract, write, and say what the file holds."""
    from mvector.compute.distributed import open_world
    from mvector.embedding.encoder import SpeakerEncoder
    from mvector.embedding.files import check_embedding_file
    from mvector.embedding.listening import Listening
    from mvector.models.description import read_model_info
    from mvector.models.engine import device_for
    from mvector.recognition.model_choice import find_model

    check_embedding_file(args.out, ())  # before --overwrite is advised: it may be the list
    if Path(args.out).exists() and not args.overwrite:
        raise DataError(f"'{args.out}' is there already; give --overwrite to replace it.")
    paths, labels, clips = _read_clips(args)
    check_embedding_file(args.out, paths)
    device = device_for(args.engine, args.use_gpu)
    with open_world(device) as world:
        folder = args.model_path or find_model(args.configs)
        listening = Listening.from_dict(read_model_info(folder).listening)
        listening = listening.with_duration(args.max_duration)
        encoder = SpeakerEncoder.from_folder(folder, device, listening, args.engine, args.precision)
        return _extract(args, encoder, clips, paths, labels, is_main=world.is_main)


def _extract(
    args: Extract,
    encoder: SpeakerEncoder,
    clips: Sequence[ListedClip],
    paths: list[str],
    labels: np.ndarray | None,
    *,
    is_main: bool,
) -> int:
    from mvector.corpus.checking import BadClip, write_bad_clips
    from mvector.embedding.extraction import extract_embeddings
    from mvector.embedding.files import write_embeddings

    partial = Path(f"{args.out}.partial")
    started_s = time.perf_counter()
    table = extract_embeddings(
        encoder,
        clips,
        batch_size=args.batch_size,
        cache=args.cache or partial,
        progress=True,
    )
    if not len(table.good):
        raise DataError(
            f"None of the {len(paths)} clips of {args.source} can be used (the first: "
            f"{table.failures[0][1]}) Relative paths start from '{args.data_root or os.getcwd()}'."
        )
    if not is_main:
        return 0
    write_embeddings(
        args.out,
        [paths[position] for position in table.good],
        table.embeddings,
        None if labels is None else labels[table.good],
        fingerprint=encoder.fingerprint,
    )
    bad_list = Path(f"{args.out}.bad_clips.txt")
    bad = [BadClip(paths[position], reason) for position, reason in table.failures]
    write_bad_clips(bad_list, bad)
    shutil.rmtree(partial, ignore_errors=True)
    elapsed_s = time.perf_counter() - started_s
    print(
        f"Written:   {count_of(len(table.good), 'embedding')} of {encoder.embd_dim} numbers in "
        f"{elapsed_s:.1f} s, as {args.out}"
    )
    print_left_out(len(bad), bad_list)
    return 0


def _read_clips(args: Extract) -> tuple[list[str], np.ndarray | None, Sequence[ListedClip]]:
    """Paths of distinct clips, their speakers where these are known, and the clips to hear."""
    from mvector.audio import with_channel
    from mvector.data.packed import PackedClip, PackedCorpus, is_packed

    if is_packed(args.source):
        corpus = PackedCorpus(args.source)
        paths, labels, rows = _distinct(corpus.as_clip_list())
        return paths, labels, [PackedClip(corpus, row) for row in rows]
    paths, labels = _read_list(args.source, args.data_root)
    return paths, labels, [with_channel(path, args.channel) for path in paths]


def _read_list(source: str, root: str | None) -> tuple[list[str], np.ndarray | None]:
    """Distinct clips of a list of any kind, and their speakers where the list says them."""
    from mvector.audio import split_channel
    from mvector.audio.formats import refuse_as_list
    from mvector.data.lists import read_list
    from mvector.scoring import read_trials
    from mvector.scoring.trial_lists import is_trials_file

    refuse_as_list(source)
    with read_errors_as(DataError, f"The list '{source}'"):
        text = read_utf8(source)
    lines = [line.strip(" ") for line in text.split("\n") if line.strip()]
    if not lines:
        raise DataError(f"The list '{source}' is empty; write one clip a line.")
    is_path = os.path.exists(split_channel(os.path.join(root or "", lines[0]))[0])
    if "\t" not in lines[0] and (is_path or len(lines[0].split(" ")) != 3):
        return [os.path.join(root or "", path) for path in dict.fromkeys(lines)], None
    if is_trials_file(source):
        return list(read_trials(source, root).paths), None
    return _distinct(read_list(source, root=root))[:2]


def _distinct(clips: ClipList) -> tuple[list[str], np.ndarray | None, list[int]]:
    """Paths and labels of a list, each path once, and where they stand in it."""
    rows = list({path: row for row, path in enumerate(clips.paths)}.values())
    return [clips.paths[row] for row in rows], clips.labels[rows].astype("int64"), rows


COMMAND = Command("extract_embeddings.py", _DESCRIPTION, _EPILOG, (Action("a list", Extract, run),))
