"""Many people in many languages for the model in the box: excerpts of Common Voice.

  python benchmarks/default_model_common_voice.py --clone DIR --out DIR

The clone is github.com/omnilingo/rsample-100-cv-corpus-6.1-2020-12-11 at 6785f86: at most a hundred
clips in each of 60 languages, drawn from Mozilla Common Voice 6.1; CC0. Sentences are read by
volunteers into their own devices.

Written below --out, as default_model_data.py reads it:

  LANGUAGE            links to the folders of the clone; its mp3 files are read where they are
  lists/metadata.csv  path, corpus, speaker, gender, session, duration_s
  lists/train.txt     'path<TAB>label'

A speaker is the beginning of a client_id, whatever the language, and each clip is a session: nobody
knows which were recorded on one day. Clips of 1 to 20 s are taken, in the order of client_id and
path.
"""

from __future__ import annotations

import argparse
import csv
import io
from pathlib import Path

from default_model_more import Recording, found, labelled, summary

from mvector.audio import audio_info
from mvector.errors import MVectorError
from mvector.files import write_text

LEAST_S, MOST_S = 1, 20
LETTERS_OF_SPEAKER = 24  # of the 128 of a client_id
GENDERS = {"female": "F", "male": "M"}


def main() -> None:
    """Write the lists, and links to the clips."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clone", required=True, type=Path)
    parser.add_argument("--out", required=True, type=Path)
    args = parser.parse_args()
    duration_of = {}
    recordings = []
    for recording in common_voice(args.clone):
        try:
            duration_s = audio_info(recording.source).duration_s
        except MVectorError as error:
            print(f"left out: {error}")
            continue
        if LEAST_S <= duration_s <= MOST_S:
            recordings.append(recording)
            duration_of[recording.path] = duration_s
    lists = args.out / "lists"
    lists.mkdir(parents=True, exist_ok=True)
    for language in {one.path.split("/")[0] for one in recordings}:
        link = args.out / language
        link.unlink(missing_ok=True)
        link.symlink_to((args.clone / language).resolve())
    write_text(lists / "metadata.csv", metadata(recordings, duration_of))
    write_text(lists / "train.txt", labelled(recordings))
    print(summary(recordings, duration_of))


def common_voice(clone: Path) -> list[Recording]:
    """The clips of all languages, each known from its language's table."""
    rows = []
    for table in found(clone, "validated.tsv"):
        with open(table, encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE):
                path = f"{table.parent.name}/clips/{row['path']}"
                rows.append((row["client_id"], path, row["gender"]))
    return [
        Recording(
            clone / path,
            path,
            "common_voice",
            client[:LETTERS_OF_SPEAKER],
            GENDERS.get(gender, ""),
            Path(path).stem,
        )
        for client, path, gender in sorted(rows)
    ]


def metadata(recordings: list[Recording], duration_of: dict[str, float]) -> str:
    """The table of all recordings."""
    stream = io.StringIO()
    table = csv.writer(stream)
    known = ["path", "corpus", "speaker", "gender", "session"]
    table.writerow([*known, "duration_s"])
    for one in recordings:
        row = [getattr(one, column) for column in known]
        table.writerow([*row, f"{duration_of[one.path]:.3f}"])
    return stream.getvalue()


if __name__ == "__main__":
    main()
