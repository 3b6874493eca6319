"""inspect_data: what a list really holds, and which of its lines are mistakes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mvector.cli import run_script
from mvector.cli.inspect_data import COMMAND
from mvector.cli.options import build_parser
from mvector.corpus import inspection
from mvector.corpus.inspection import Inspection, inspect_list
from mvector.corpus.inspection_measures import MEASURES, measure_waveform
from mvector.corpus.inspection_picture import save_picture
from mvector.corpus.inspection_report import build_report
from mvector.corpus.inspection_text import render_report
from mvector.data import write_list
from mvector.errors import DataError

RATE = 16000


def speech_like(duration_s: float = 1.0, seed: int = 0) -> np.ndarray:
    """Noise that 16 bits hold exactly: float32 ``(samples,)``."""
    noise = np.random.default_rng(seed).normal(0.0, 0.1, round(duration_s * RATE))
    return (np.round(noise * 32768).clip(-16384, 16384) / 32768).astype(np.float32)


def tone(frequency_hz: float, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    time_s = np.arange(rate) / rate
    return (amplitude * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def put(name: str, waveform: np.ndarray, rate: int = RATE, **options: Any) -> str:
    """Encode a clip; 16 bits without the rounding that differs from format to format."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    if not options:
        waveform = np.clip(np.round(waveform * 32768.0), -32768, 32767).astype(np.int16)
    soundfile.write(name, waveform, rate, **options)
    return name


def report_of(entries: list[tuple[str, int]], **options: Any) -> dict[str, Any]:
    write_list("list.txt", entries)
    return build_report(inspect_list("list.txt", num_workers=0), **options)


def columns(report: dict[str, Any], kind: str) -> list[tuple[str, int]]:
    clips = report[kind]["clips"]
    return list(zip(clips["path"], clips["label"], strict=True))


def made_up(labels: list[int], **fields: Any) -> Inspection:
    """An inspection without audio: readable clips of a second, all different."""
    measures = np.zeros(len(labels), MEASURES)
    measures["readable"], measures["num_samples"], measures["sample_rate"] = True, RATE, RATE
    measures["level_db"], measures["num_channels"], measures["format"] = -20.0, 1, b"WAV/PCM_16"
    digests = [hashlib.sha1(str(i).encode()).digest() for i in range(len(labels))]
    measures["digest"] = np.array([np.void(digest) for digest in digests])
    for name, values in fields.items():
        measures[name] = values
    paths = [f"clip_{i}.wav" for i in range(len(labels))]
    return Inspection("made_up.txt", paths, np.array(labels), measures, {})


@pytest.fixture(autouse=True)
def _in_a_fresh_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# What is measured of a clip


def test_silence_is_the_share_of_20_ms_frames_40_db_below_the_loudest() -> None:
    gains_db = np.random.default_rng(1).uniform(-80.0, 0.0, 50)
    waveform = np.repeat(10.0 ** (gains_db / 20.0), 320) * tone(1000.0, 0.5)
    powers = [
        sum(float(x) ** 2 for x in waveform[i : i + 320].astype(np.float32))
        for i in range(0, RATE, 320)
    ]
    expected = sum(power < max(powers) * 1e-4 for power in powers) / 50
    record = measure_waveform(waveform.astype(np.float32), RATE)
    assert 0.2 < expected < 0.8
    assert record["silence_share"] == pytest.approx(expected, abs=1e-6)


def test_a_clip_below_80_db_is_silence_throughout() -> None:
    assert measure_waveform(tone(1000.0, 1e-4), RATE)["silence_share"] == 1.0
    assert measure_waveform(np.zeros(RATE, np.float32), RATE)["silence_share"] == 1.0
    assert measure_waveform(tone(1000.0, 1e-3), RATE)["silence_share"] == 0.0


def test_the_level_is_that_of_all_sound_however_long() -> None:
    assert measure_waveform(tone(1000.0, 0.5), RATE)["level_db"] == pytest.approx(-9.031, abs=1e-3)
    long = np.concatenate([np.tile(tone(1000.0, 0.5), 80), np.tile(tone(1000.0, 0.005), 80)])
    assert measure_waveform(long, RATE)["level_db"] == pytest.approx(-12.041, abs=1e-3)


def test_an_offset_is_no_level_and_digital_silence_is_silence() -> None:
    record = measure_waveform(np.full(RATE, 0.3, np.float32), RATE)
    assert (record["level_db"], record["silence_share"]) == (-np.inf, 1.0)
    halves = np.concatenate([tone(1000.0, 0.5), np.zeros(RATE, np.float32)]) + np.float32(0.1)
    record = measure_waveform(halves, RATE)
    assert record["level_db"] == pytest.approx(-9.031, abs=1e-2)
    assert record["silence_share"] == pytest.approx(0.5, abs=0.011)


def test_clipping_is_the_share_of_samples_at_full_scale_of_either_sign() -> None:
    waveform = tone(1000.0, 0.99)
    assert measure_waveform(waveform, RATE)["clipped_share"] == 0.0
    waveform[:30], waveform[30:80] = 32767 / 32768, -1.0
    assert measure_waveform(waveform, RATE)["clipped_share"] == pytest.approx(80 / RATE)


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_the_energy_above_4_khz_is_that_of_the_tones_above_it(rate: int) -> None:
    waveform = tone(1500.0, 0.3, rate) + tone(5500.0, 0.1, rate)
    record = measure_waveform(waveform, rate)
    assert record["high_band_share"] == pytest.approx(0.01 / 0.10, rel=1e-3)


def test_an_offset_and_hum_do_not_make_a_clip_look_like_telephone_speech() -> None:
    waveform = tone(1500.0, 0.1) + tone(5500.0, 0.1) + tone(50.0, 0.3) + np.float32(0.3)
    assert measure_waveform(waveform, RATE)["high_band_share"] == pytest.approx(0.5, rel=0.02)


def test_the_band_is_not_measured_where_the_rate_leaves_none() -> None:
    assert np.isnan(measure_waveform(tone(1000.0, rate=8000), 8000)["high_band_share"])
    assert np.isnan(measure_waveform(np.zeros(RATE, np.float32), RATE)["high_band_share"])


def test_the_band_of_a_long_clip_is_that_of_all_its_parts() -> None:
    low, high = np.tile(tone(1500.0), 150), np.tile(tone(5500.0), 50)
    record = measure_waveform(np.concatenate([low, high]), RATE)
    assert record["high_band_share"] == pytest.approx(0.25, rel=1e-3)


@pytest.mark.parametrize("num_samples", [7, 100, 319, 321, 511, 513])
def test_clips_of_a_few_samples_are_measured(num_samples: int) -> None:
    record = measure_waveform(speech_like()[:num_samples], RATE)
    assert record["num_samples"] == num_samples
    assert record["silence_share"] == 0.0
    assert 0.0 <= record["high_band_share"] <= 1.0


def test_the_digest_is_the_sha1_of_16_bit_samples() -> None:
    samples = np.random.default_rng(2).integers(-32768, 32768, 80 * RATE).astype("<i2")
    put("a.wav", samples, subtype="PCM_16")
    write_list("list.txt", [("a.wav", 0)])
    found = inspect_list("list.txt", num_workers=0).measures[0]
    assert found["digest"].tobytes() == hashlib.sha1(samples.tobytes()).digest()


# What is found in a list


def test_rates_channels_and_formats_are_those_of_the_files() -> None:
    entries = [
        (put("a.wav", speech_like(), subtype="PCM_16"), 0),
        (put("b.flac", speech_like(seed=1), 48000), 0),
        (put("c.wav", np.stack([speech_like(), speech_like(seed=2)], 1), subtype="FLOAT"), 1),
        (put("d.ogg", speech_like(seed=3), format="OGG", subtype="VORBIS"), 1),
        (put("e.wav", speech_like(seed=4), 8000, subtype="ULAW"), 1),
    ]
    report = report_of(entries)
    assert report["sample_rates"] == {"16000": 3, "8000": 1, "48000": 1}
    assert report["channels"] == {"1": 4, "2": 1}
    assert set(report["formats"]) == {
        "WAV/PCM_16",
        "FLAC/PCM_16",
        "WAV/FLOAT",
        "OGG/VORBIS",
        "WAV/ULAW",
    }
    assert report["hours"] == pytest.approx((3 * 1 + 1 / 3 + 2) / 3600, rel=1e-3)


def test_the_same_audio_in_wav_and_flac_is_found_and_two_labels_come_first() -> None:
    one, two, three = (speech_like(seed=seed) for seed in range(3))
    entries = [
        (put("x/1.wav", one), 0),
        (put("x/2.flac", one), 0),
        (put("x/3.wav", three), 0),
        (put("y/4.wav", two), 1),
        (put("z/5.flac", two), 2),
    ]
    report = report_of(entries)
    found = report["duplicates"]
    assert [(group["paths"], group["labels"]) for group in found["groups"]] == [
        (["y/4.wav", "z/5.flac"], [1, 2]),
        (["x/1.wav", "x/2.flac"], [0, 0]),
    ]
    assert (found["groups_across_labels"], found["groups_within_label"]) == (1, 1)
    assert found["surplus_clips"] == 2
    assert not report["clean"]


def test_audio_twice_under_one_label_is_reported_and_still_clean() -> None:
    report = report_of([(put("a.wav", speech_like()), 0), ("a.wav", 0)])
    assert report["duplicates"]["groups_within_label"] == 1
    assert report["clean"]


def test_clips_of_zeros_are_silent_and_no_duplicates() -> None:
    zeros = np.zeros(RATE, np.float32)
    entries = [(put("a.wav", zeros), 0), (put("b.wav", zeros), 1), (put("c.wav", speech_like()), 1)]
    report = report_of(entries)
    assert report["duplicates"]["groups"] == []
    assert columns(report, "silent") == entries[:2]
    assert report["silent"]["clips"]["level_db"] == [None, None]
    assert report["speech_hours"] == pytest.approx(1 / 3600)


def test_clipped_mostly_silent_short_and_narrow_clips_are_named_worst_first() -> None:
    import soxr

    loud, louder = speech_like(seed=1), speech_like(seed=2)
    loud[:30], louder[:60] = 1.0, -1.0
    still, stiller = speech_like(seed=3), speech_like(seed=4)
    still[6400:], stiller[3200:] = 0.0, 0.0
    phone = soxr.resample(soxr.resample(speech_like(seed=5), RATE, 8000), 8000, RATE)
    names = ("loud", "louder", "still", "stiller", "phone")
    waveforms = (loud, louder, still, stiller, phone)
    entries = [
        (put(f"{name}.wav", waveform), label)
        for label, (name, waveform) in enumerate(zip(names, waveforms, strict=True))
    ]
    entries += [(put("short.wav", speech_like(0.3, seed=6)), 5), (put("w.wav", speech_like()), 6)]
    report = report_of(entries, min_duration_s=0.4)
    assert columns(report, "clipped") == [("louder.wav", 1), ("loud.wav", 0)]
    assert report["clipped"]["clips"]["share"] == pytest.approx([60 / RATE, 30 / RATE])
    assert columns(report, "silence") == [("stiller.wav", 3), ("still.wav", 2)]
    assert report["silence"]["clips"]["share"] == pytest.approx([0.8, 0.6])
    assert columns(report, "narrow_band") == [("phone.wav", 4)]
    assert report["narrow_band"]["clips"]["high_band_db"][0] < -60.0
    assert columns(report, "short") == [("short.wav", 5)]
    assert report["clean"]


def test_clipping_of_one_channel_is_not_hidden_by_the_other() -> None:
    left, right = speech_like(seed=1), speech_like(seed=2)
    left[:1600] = 1.0
    report = report_of([(put("a.wav", np.stack([left, right], 1)), 0)])
    assert report["clipped"]["clips"]["share"] == pytest.approx([0.05])


def test_gaps_single_clips_and_speakers_without_a_clip_are_named() -> None:
    found = made_up([0, 0, 3, 7, 7, 9])
    found.measures["readable"][5] = False
    found.reasons[5] = "does not exist."
    labels = build_report(found)["labels"]
    assert labels == {
        "largest": 9,
        "missing": 6,
        "missing_ranges": [[1, 2], [4, 6], [8, 8]],
        "single_clip": [3],
        "without_clips": [9],
    }


def test_histograms_and_summaries_agree_with_numpy() -> None:
    rng = np.random.default_rng(3)
    duration_s = rng.lognormal(1.0, 1.0, 500)
    labels = rng.integers(0, 60, 500)
    num_samples = np.round(duration_s * RATE).astype(int)
    report = build_report(made_up(labels.tolist(), num_samples=num_samples))
    bins = report["duration_s"]["histogram"]
    edges = [entry["from"] for entry in bins] + [bins[-1]["to"]]
    expected, _ = np.histogram(num_samples / RATE, edges)
    assert [entry["count"] for entry in bins] == expected.tolist()
    assert sum(expected) == 500
    assert report["duration_s"]["summary"]["p95"] == pytest.approx(
        np.quantile(num_samples / RATE, 0.95)
    )
    counts = np.bincount(labels)
    by_count = report["clips_per_speaker"]["histogram"]
    for entry in by_count:
        inside = [entry["from"] <= count < entry["to"] for count in counts if count]
        assert entry["count"] == sum(inside)
    assert report["clips_per_speaker"]["summary"]["mean"] == pytest.approx(
        500 / np.count_nonzero(counts)
    )


def test_a_bin_without_end_takes_the_longest_clips_and_the_most_talkative() -> None:
    report = build_report(made_up([0] * 12000, num_samples=4000 * RATE))
    assert report["duration_s"]["histogram"] == [{"from": 3600, "to": None, "count": 12000}]
    assert report["clips_per_speaker"]["histogram"] == [{"from": 10000, "to": None, "count": 1}]
    assert "10000 and more" in render_report(report)


# Bad clips


@pytest.fixture
def bad_entries() -> list[tuple[str, int]]:
    """Two good clips, and one of each kind of bad ones."""
    put("good.wav", speech_like())
    put("cut.flac", speech_like(3.0))
    Path("cut.flac").write_bytes(Path("cut.flac").read_bytes()[:20000])
    put("cut.wav", speech_like(3.0))
    Path("cut.wav").write_bytes(Path("cut.wav").read_bytes()[:60000])
    Path("empty.wav").touch()
    Path("text.wav").write_text("no audio at all")
    Path("folder.wav").mkdir()
    os.mkfifo("pipe.wav")
    put("nan.wav", np.full(RATE, np.nan, np.float32), subtype="FLOAT")
    put("other.wav", speech_like(seed=1))
    names = ("good", "missing", "empty", "text", "folder", "pipe", "nan", "cut", "other")
    return [(f"{name}.wav", 0) for name in names] + [("cut.flac", 1)]


REASONS = {
    "missing.wav": "does not exist; check the path.",
    "empty.wav": "is an empty file; record or copy it again.",
    "text.wav": "is not audio that can be decoded",
    "folder.wav": "is a folder",
    "pipe.wav": "cannot be opened: it is not a file but a named pipe",
    "nan.wav": "holds 16000 samples that are NaN or infinite",
    "cut.wav": "is cut short: its header promises 3.00 s, only 1.87 s can be decoded",
    "cut.flac": "is damaged",
}


@pytest.mark.parametrize("num_workers", [0, 2])
def test_each_bad_clip_has_its_reason_and_the_others_are_measured(
    bad_entries: list[tuple[str, int]], num_workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inspection, "_CLIPS_PER_TASK", 2)
    write_list("list.txt", bad_entries)
    report = build_report(inspect_list("list.txt", num_workers=num_workers))
    assert report["clips"] == {"listed": 10, "readable": 2, "unreadable": 8}
    assert not report["clean"]
    clips = report["unreadable"]["clips"]
    found = dict(zip(clips["path"], clips["reason"], strict=True))
    assert list(found) == [path for path, _ in bad_entries if path in REASONS]
    for path, reason in REASONS.items():
        assert found[path].startswith(reason)
    assert report["labels"]["without_clips"] == [1]


@pytest.mark.parametrize("clips_per_task", [4, 64])
@pytest.mark.skipif(
    multiprocessing.get_start_method() != "fork", reason="the patched decoder must be inherited"
)
def test_a_clip_that_kills_its_process_is_named_and_the_others_are_measured(
    clips_per_task: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = [(put(f"{i}.wav", speech_like(0.1, seed=i)), i) for i in range(40)]
    whole = inspection.read_audio

    def read_or_die(path: str, rate: int) -> np.ndarray:
        if path in ("7.wav", "30.wav"):
            os._exit(1)
        return whole(path, rate)

    monkeypatch.setattr(inspection, "read_audio", read_or_die)
    monkeypatch.setattr(inspection, "_CLIPS_PER_TASK", clips_per_task)
    write_list("list.txt", entries)
    found = inspect_list("list.txt", num_workers=2)
    assert sorted(found.reasons) == [7, 30]
    assert "ends the process" in found.reasons[7]
    alive = [i for i in range(40) if i not in (7, 30)]
    expected = [measure_waveform(whole(f"{i}.wav", RATE), RATE)["digest"] for i in alive]
    assert [digest.tobytes() for digest in found.measures["digest"][alive]] == [
        digest.tobytes() for digest in expected
    ]


def test_the_result_does_not_depend_on_the_number_of_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(inspection, "_CLIPS_PER_TASK", 3)
    write_list("list.txt", [(put(f"{i}.wav", speech_like(0.1, i)), i) for i in range(20)])
    alone, together = (inspect_list("list.txt", num_workers=n).measures for n in (0, 2))
    assert alone.tobytes() == together.tobytes()


def test_a_list_of_which_nothing_can_be_read_is_a_mistake() -> None:
    write_list("list.txt", [("nowhere/a.wav", 0), ("nowhere/b.wav", 1)])
    with pytest.raises(DataError, match=r"None of the 2 clips of 'list.txt' .*--data_root"):
        inspect_list("list.txt", num_workers=0)


def test_a_packed_corpus_is_measured_as_its_list_is() -> None:
    from mvector.data.packing import pack_corpus

    entries = [(put(f"{i}.wav", speech_like(1.0, i)), i % 2) for i in range(5)]
    write_list("list.txt", entries)
    pack_corpus("list.txt", "packed", num_workers=0, show_progress=False)
    of_files, of_packed = (inspect_list(n, num_workers=0) for n in ("list.txt", "packed"))
    assert list(of_packed.paths) == of_files.paths
    assert of_packed.labels.tolist() == of_files.labels.tolist()
    for name in set(MEASURES.names or ()) - {"format"}:
        assert of_packed.measures[name].tobytes() == of_files.measures[name].tobytes(), name
    report = build_report(inspect_list("packed", num_workers=2))
    assert report["formats"] == {"packed": 5}
    assert report["clean"]


# The command


def test_a_clean_list_exits_0_and_the_text_says_nothing_that_the_json_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("corpus").mkdir()
    for i in range(6):
        put(f"corpus/{i}.wav", speech_like(0.4 + i, i))
    write_list("list.txt", [(f"{i}.wav", i // 2) for i in range(6)])
    options = ["--data_root", "corpus", "--num_workers", "0", "--json", "new/report.json"]
    assert run_script("inspect_data", ["list.txt", *options]) == 0
    text = capsys.readouterr().out
    report = json.loads(Path("new/report.json").read_text())
    assert text.startswith(render_report(report))
    assert "3 speakers, 6 clips, 0.00 hours" in text
    assert "Clips shorter than 0.5 s: 1\n       0.40 s  corpus/0.wav (label 0)\n" in text
    assert "Clean: " in text
    assert os.listdir("new") == ["report.json"]


def test_unreadable_clips_exit_1_and_the_report_is_written_all_the_same(
    bad_entries: list[tuple[str, int]], capsys: pytest.CaptureFixture[str]
) -> None:
    write_list("list.txt", [*bad_entries, ("lost/1.wav", 2), ("lost/2.wav", 2)])
    options = ["--num_workers", "0", "--json", "report.json"]
    assert run_script("inspect_data", ["list.txt", *options]) == 1
    text = capsys.readouterr().out
    assert "missing.wav does not exist; check the path. (3 clips have this reason)" in text
    assert "Not clean: 10 clips cannot be read." in text
    report = json.loads(Path("report.json").read_text())
    assert report["unreadable"]["count"] == 10
    assert text.startswith(render_report(report))


def test_one_recording_under_two_labels_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    write_list("list.txt", [(put("a.wav", speech_like()), 0), (put("b.flac", speech_like()), 1)])
    assert run_script("inspect_data", ["list.txt", "--num_workers", "0"]) == 1
    text = capsys.readouterr().out
    assert "a.wav (label 0) = b.flac (label 1)" in text
    assert "Not clean: 1 recording with two labels." in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere.txt"], "The list 'nowhere.txt' does not exist"),
        (["list.txt", "--json", "file/report.json"], "Cannot write 'file/report.json'"),
        (["list.txt", "--json", "."], "Cannot write '.'"),
        (["list.txt", "--picture", "report.txt"], "'.txt' is no picture format"),
        (["list.txt", "--data_root", "elsewhere"], "None of the 1 clips"),
    ],
)
def test_a_mistake_exits_2_with_one_sentence(
    options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    write_list("list.txt", [(put("a.wav", speech_like()), 0)])
    assert run_script("inspect_data", [*options, "--num_workers", "0"]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert printed.out == ""


def test_the_picture_is_drawn_even_of_one_clip() -> None:
    put("a.wav", speech_like())
    write_list("list.txt", [("a.wav", 0)])
    save_picture(inspect_list("list.txt", num_workers=0), "new/report.png")
    assert Path("new/report.png").read_bytes().startswith(b"\x89PNG")
    assert os.listdir("new") == ["report.png"]


def test_a_picture_without_matplotlib_is_refused_before_any_clip_is_opened(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_list("list.txt", [("missing.wav", 0)])
    assert run_script("inspect_data", ["list.txt", "--picture", "a.png"]) == 2
    assert "pip install matplotlib" in capsys.readouterr().err


def test_help_explains_the_exit_codes_and_shows_examples() -> None:
    text = build_parser(COMMAND).format_help()
    for words in ("exit code:", "  1   not clean", "python tools/inspect_data.py dataset/"):
        assert words in text


def test_a_control_character_in_a_path_stays_on_its_line() -> None:
    found = made_up([0, 1], level_db=[-20.0, -90.0])
    found.paths[1] = "a\x1b[2Jb.wav"  # type: ignore[index]
    assert "a\\x1b[2Jb.wav (label 1)" in render_report(build_report(found))


def test_a_million_clips_take_71_megabytes() -> None:
    assert MEASURES.itemsize == 71
