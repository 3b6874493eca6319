"""A tour in a few minutes: the model in the box, then a training of one's own from end to end.

  python tools/demo.py            everything goes into the folder demo/

Each step runs one of the root scripts, and its command is printed: copy it to go on from there.
The voices are computed, not recorded: what the figures say of real people is nothing.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
SAMPLES = ROOT / "dataset" / "samples"
SAMPLE_VOICES = ("voice_a", "voice_b", "voice_c")
sys.path.insert(0, str(ROOT))  # works from a clone, without installation

from mvector.demo.corpus import write_corpus  # noqa: E402

NUM_SPEAKERS, CLIPS_PER_SPEAKER, NUM_TEST_SPEAKERS = 60, 8, 12
SETTINGS = {
    "dataset_conf.max_duration": "1.5",
    "dataset_conf.dataLoader.batch_size": "32",
    "dataset_conf.dataLoader.num_workers": "1",
    "model_conf.backbone.channels": "128",
    "optimizer_conf.scheduler_args.warmup_epoch": "1",
    "train_conf.max_epoch": "12",
    "train_conf.log_interval": "6",
    "loss_conf.margin_scheduler_args.final_margin": "0.2",
}


def main() -> int:
    """Run the tour; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder (default demo)")
    args = parser.parse_args()
    started = time.monotonic()
    out: Path = args.out.resolve()
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    tour = Tour(out)

    verdicts = (0, 1)  # exit codes: same or known, different or unknown
    tour.say("1/7  the model in the box: comparing sample clips, enrolling, recognising")
    box = {voice: str(SAMPLES / voice / "{}.flac") for voice in SAMPLE_VOICES}
    mine, other, stranger = (box[voice] for voice in SAMPLE_VOICES)
    box_codes = [
        tour.run("infer_contrast.py", *clips_of(mine.format(1), mine.format(2)), codes=verdicts),
        tour.run("infer_contrast.py", *clips_of(mine.format(1), other.format(1)), codes=verdicts),
    ]
    library = ("--audio_db_path", "audio_db_box")
    for name, clip in zip(SAMPLE_VOICES[:2], (mine, other), strict=True):
        tour.run("infer_recognition.py", "--register", name, clip.format(1), *library)
    box_codes += [
        tour.run("infer_recognition.py", "--identify", clip.format(2), *library, codes=verdicts)
        for clip in (other, stranger)
    ]

    tour.say(f"2/7  {NUM_SPEAKERS} synthetic voices into {out / 'corpus'}")
    write_corpus(
        out / "corpus",
        num_speakers=NUM_SPEAKERS,
        clips_per_speaker=CLIPS_PER_SPEAKER,
        duration_s=(2.0, 4.0),
    )
    tour.say("3/7  lists for training, enrolment and trials")
    tour.run(
        "create_data.py",
        "--dataset",
        "folder",
        "--path",
        "corpus",
        "--test_speakers",
        str(NUM_TEST_SPEAKERS),
    )
    tour.say("4/7  training EcapaTdnn")
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    tour.run("train.py", "--configs", str(ROOT / "configs" / "ecapa_tdnn.yml"), *settings)
    tour.say("5/7  evaluation on voices never trained on")
    tour.run("eval.py", "--save_image_path", "log")

    enrolled, trials = tour.first_clips("enroll_list.txt"), tour.first_clips("trials_list.txt")
    first, second, third, stranger = list(trials)[:4]
    tour.say("6/7  comparing two clips of one voice, then of two")
    model = out / "models" / "EcapaTdnn_Fbank" / "best_model"
    own = ("--model_path", str(model.relative_to(out)))
    compare = ("infer_contrast.py", *own)
    same = tour.run(*compare, *clips_of(enrolled[first], trials[first]), codes=verdicts)
    different = tour.run(*compare, *clips_of(enrolled[first], trials[second]), codes=verdicts)
    tour.say("7/7  enrolling three people, then recognising one of them and a stranger")
    for name in (first, second, third):
        tour.run("infer_recognition.py", *own, "--register", name, enrolled[name])
    identify = ("infer_recognition.py", *own, "--identify")
    known = tour.run(*identify, trials[first], codes=verdicts)
    unknown = tour.run(*identify, trials[stranger], codes=verdicts)

    metrics = yaml.safe_load((model / "model.yml").read_text(encoding="utf-8"))["metrics"]
    print(f"""
What happened, in {time.monotonic() - started:.0f} s. The voices are SYNTHETIC: the figures say
nothing about real speech; those of the model in the box stand in docs/model_card.md.
The model in the box
  same voice      {"taken for the same" if box_codes[0] == 0 else "wrongly told apart"}
  two voices      {"told apart" if box_codes[1] == 1 else "wrongly taken for the same"}
  enrolled voice  {"recognised" if box_codes[2] == 0 else "not recognised"}
  stranger        {"rejected" if box_codes[3] == 1 else "wrongly recognised"}
The model trained here
  trained on      {NUM_SPEAKERS - NUM_TEST_SPEAKERS} voices, tested on {NUM_TEST_SPEAKERS} others
  error rates     EER {100 * metrics["eer"]:.2f} %, minDCF {metrics["min_dcf"]:.3f}
  same voice      {"taken for the same" if same == 0 else "wrongly told apart"}
  two voices      {"told apart" if different == 1 else "wrongly taken for the same"}
  enrolled voice  {"recognised" if known == 0 else "not recognised"}
  stranger        {"rejected" if unknown == 1 else "wrongly recognised"}
Where it lies
  model           {model}
  error curves    {out / "log" / "EcapaTdnn_Fbank.png"}
  training curves {model.parent / "metrics.jsonl"}
  lists           {out / "dataset"}
  speaker library {out / "audio_db"}
Next: the README, with speech of your own.""")
    return 0


def clips_of(first: str, second: str) -> tuple[str, ...]:
    """Options that name the clips to compare."""
    return "--audio_path1", first, "--audio_path2", second


class Tour:
    """Runs the root scripts in the demo's folder."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.env = {**os.environ, "PYTHONPATH": str(ROOT)}

    def say(self, title: str) -> None:
        """Announce a step."""
        print(f"\n=== {title}", flush=True)

    def run(self, script: str, *options: str, codes: tuple[int, ...] = (0,)) -> int:
        """Run a root script, showing its command; leaves if it fails."""
        print(f"$ python {shlex.join([script, *options])}", flush=True)
        command = [sys.executable, str(ROOT / script), *options]
        code = subprocess.run(command, cwd=self.out, env=self.env).returncode
        if code not in codes:
            sys.exit(f"The demo stops here: the command above ended with exit code {code}.")
        return code

    def first_clips(self, name: str) -> dict[str, str]:
        """The first clip of each speaker on a list."""
        clips: dict[str, str] = {}
        for line in (self.out / "dataset" / name).read_text(encoding="utf-8").splitlines():
            clip = line.split("\t")[0]
            clips.setdefault(Path(clip).parent.name, clip)
        return clips


if __name__ == "__main__":
    sys.exit(main())
