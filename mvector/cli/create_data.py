"""``create_data.py``: from a corpus on disk to the lists that training and evaluation read."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mvector.audio import Channel, with_channel
from mvector.audio.formats import MEDIA_SUFFIXES
from mvector.cli.create_data_options import DEFAULT_OUTPUT, DESCRIPTION, EPILOG, Merge, Scan
from mvector.cli.options import Action, Command
from mvector.cli.subcommand import as_started
from mvector.corpus.checking import BadClip, check_clips, check_paths, write_bad_clips
from mvector.corpus.cutting import SEGMENTS, TRIMMED, cut_targets, require_vad
from mvector.corpus.merging import merge_lists
from mvector.corpus.recipes import SCANS, SCANS_WITH_TRIALS
from mvector.corpus.recipes.clip import Clip, Part, name_some
from mvector.corpus.recipes.cnceleb import cnceleb_trials
from mvector.corpus.recipes.pairs import PublishedTrials, WrittenPairs, write_pairs
from mvector.corpus.recipes.table import scan_csv
from mvector.corpus.splitting import LIST_NAMES, assign_to_lists, write_lists
from mvector.errors import DataError, count_of, import_errors_as
from mvector.files import check_writable, write_errors_as

logger = logging.getLogger(__name__)

_TITLES: dict[Part, str] = {"train": "training", "enroll": "enrolment", "trials": "trials"}
_BAD_NAME = "bad_clips.txt"


def make_lists(args: Scan) -> int:
    """Scan, check, split, write the lists and say what they hold."""
    _require_writable(args.output)
    require_vad(args.do_vad)
    logger.info("Looking for clips in '%s' ...", args.path)
    clips, trials = _scan(args)
    num_speakers = len({clip.speaker for clip in clips})
    logger.info("%s of %s.", count_of(len(clips), "clip"), count_of(num_speakers, "speaker"))
    start_s = time.perf_counter()
    good, bad = _check(clips, args)
    elapsed_s = time.perf_counter() - start_s
    lost = {clip.speaker for clip in clips} - {clip.speaker for clip in good}
    if lost:
        speakers = count_of(len(lost), "speaker")
        logger.warning("Left out: %s without a good clip: %s.", speakers, name_some(lost))
    bad += [
        BadClip(name, f"is named in '{own.source}' and is not in the corpus.")
        for own in trials
        for name in own.missing
    ]
    write_bad_clips(Path(args.output) / _BAD_NAME, bad)
    divided = good
    if args.dataset != "cnceleb":  # which comes with its own test speakers
        divided = assign_to_lists(
            good,
            test_speakers=args.test_speakers,
            enroll_clips=args.enroll_clips,
            seed=args.seed,
            has_pairs=bool(trials),
        )
    is_test_alone = bool(trials) and args.dataset in SCANS_WITH_TRIALS
    written = write_lists(divided, args.output, may_lack_training=is_test_alone)
    path_of = {clip.key: clip.path for clip in good}
    pairs = [own for each in trials if (own := write_pairs(each, path_of, args.output))]
    if not args.skip_check:
        speed = len(clips) / max(elapsed_s, 1e-9)
        logger.info("Checked %d clips in %.1f s (%.0f clips/s).", len(clips), elapsed_s, speed)
    print(_summary(divided, bad, written, pairs, args.output))
    return 0


def _scan(args: Scan) -> tuple[list[Clip], list[PublishedTrials]]:
    trials: list[PublishedTrials] = []
    if args.dataset == "csv":
        clips = scan_csv(
            args.path,
            path_column=args.path_column,
            speaker_column=args.speaker_column,
            split_column=args.split_column,
        )
    elif args.dataset in SCANS_WITH_TRIALS:
        clips, trials = SCANS_WITH_TRIALS[args.dataset](args.path, args.trials)
    else:
        clips = SCANS[args.dataset](args.path)
    # Where the output lies within the corpus, what an earlier run cut is no clip of it.
    made = [os.path.abspath(Path(args.output) / name) + os.sep for name in (TRIMMED, SEGMENTS)]
    clips = [clip for clip in clips if not os.path.abspath(clip.path).startswith(tuple(made))]
    if args.dataset == "cnceleb":
        trials = cnceleb_trials(args.path, clips)
    return [_with_channel(clip, args.channel) for clip in clips], trials


def _with_channel(clip: Clip, channel: Channel | None) -> Clip:
    """The clip of which a channel is listed, unless its segment names one."""
    if channel is None or (clip.segment is not None and clip.segment.channel is not None):
        return clip
    return replace(clip, path=with_channel(clip.path, channel), origin=clip.key)


def _require_decoder(clips: list[Clip]) -> None:
    """Refuse to make lists without most of a corpus for want of a package."""
    needing = [clip for clip in clips if Path(clip.path).suffix.lower() in MEDIA_SUFFIXES]
    if 2 * len(needing) <= len(clips):
        return  # what cannot be decoded is left out, with the reason
    with import_errors_as(
        f"{len(needing)} of {len(clips)} clips, such as '{needing[0].path}', need PyAV: pip "
        "install av, or convert them to wav or flac."
    ):
        import av  # noqa: F401


def _check(clips: list[Clip], args: Scan) -> tuple[list[Clip], list[BadClip]]:
    if not args.skip_check:
        _require_decoder(clips)
        root = Path(args.path).parent if args.dataset == "csv" else Path(args.path)
        targets = cut_targets(clips, root, args.output, trim=args.do_vad != "none")
        return check_clips(
            clips,
            min_duration_s=args.min_duration,
            convert_mp3=args.convert_mp3,
            targets=targets,
            vad=args.do_vad,
            num_workers=args.num_workers,
        )
    if any(clip.segment for clip in clips):
        raise DataError("Segments must be cut: they cannot go with --skip_check True.")
    return check_paths(clips)


def merge(args: Merge) -> int:
    """Join lists, and say what the joined ones hold."""
    _require_writable(args.output)
    lines = [f"{'':<10} {'speakers':>9} {'clips':>9}"]
    merged = merge_lists(args.merge, args.output)
    for own in merged:
        lines.append(f"{_TITLES[own.part]:<10} {own.num_speakers:>9,} {own.num_clips:>9,}")
    lines.append(f"Written: {', '.join(str(own.path) for own in merged)}")
    print("\n".join(lines))
    return 0


def _require_writable(output: str) -> None:
    """Fail now and not after hours of checking."""
    with write_errors_as(DataError, f"lists to '{output}'", "choose another --output"):
        check_writable(Path(output))


def _summary(
    clips: Sequence[Clip],
    bad: Sequence[BadClip],
    written: Sequence[Path],
    pairs: Sequence[WrittenPairs],
    output: str,
) -> str:
    lines = [f"{'':<10} {'speakers':>9} {'clips':>9} {'hours':>9}"]
    for part in LIST_NAMES:
        own = [clip for clip in clips if clip.part == part]
        durations_s = [clip.duration_s for clip in own if clip.duration_s is not None]
        hours = f"{sum(durations_s) / 3600:.2f}" if len(durations_s) == len(own) else "unknown"
        speakers = len({clip.speaker for clip in own})
        lines.append(f"{_TITLES[part]:<10} {speakers:>9,} {len(own):>9,} {hours:>9}")
    lines += [f"Pairs: {own.num_pairs:,} in {own.path}" for own in pairs]
    if bad:
        lines.append(
            f"Left out: {count_of(len(bad), 'bad clip')}, listed in {Path(output) / _BAD_NAME}"
        )
    if written:
        lines.append(f"Written: {', '.join(str(path) for path in written)}")
    names = {path.name for path in written}
    if LIST_NAMES["train"] in names:
        options = "" if LIST_NAMES["trials"] in names or pairs else " --do_eval False"
        lines.append(as_started(f"Next: python train.py{options}"))
    else:
        lines.append(as_started("Next: python eval.py"))
    if pairs and LIST_NAMES["trials"] not in names:
        lines[-1] += f" --set dataset_conf.trials_list={pairs[0].path.as_posix()}"
    if Path(output) != Path(DEFAULT_OUTPUT):
        lines[-1] += " (with the lists of dataset_conf in the configuration set to these files)"
    return "\n".join(lines)


COMMAND = Command(
    "create_data.py",
    DESCRIPTION,
    EPILOG,
    (Action("--merge", Merge, merge), Action("--dataset", Scan, make_lists)),
    stray="path",
)
