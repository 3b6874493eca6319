"""Packed corpora: what comes out is what went in, and nothing damaged or half-written opens."""

from __future__ import annotations

import errno
import filecmp
import json
import os
import pickle
import random
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from error_codes import raises_code
from small_settings import ROOT

from mvector.cli import run_script
from mvector.data import write_list
from mvector.data.pack_writer import PackWriter
from mvector.data.packed import INDEX_DTYPE, PackedCorpus, is_packed, packed_kind
from mvector.data.packing import pack_corpus
from mvector.errors import DataError

RATE = 16000
HALF_STEP = 0.5 / 32768
TOOL = str(ROOT / "tools" / "pack_corpus.py")


def noise(duration_s: float, rate: int = RATE, seed: int = 0, level: float = 0.1) -> np.ndarray:
    return level * np.random.default_rng(seed).uniform(-1, 1, round(duration_s * rate))


def write_clips(folder: Path, count: int, rate: int = RATE, duration_s: float = 0.6) -> Path:
    """Clips of different lengths and a list of them, every fifth of which names no file."""
    entries = []
    folder.mkdir()
    for i in range(count):
        path = folder / f"clip {i:03}.wav"
        if i % 5 != 3:
            soundfile.write(path, noise(duration_s + 0.01 * (i % 7), rate, seed=i), rate)
        entries.append((str(path), i // 3))
    write_list(folder / "list.txt", entries)
    return folder / "list.txt"


def same_files(first: Path, second: Path) -> bool:
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    return filecmp.cmpfiles(first, second, names, shallow=False)[0] == names


@pytest.fixture
def small_list(tmp_path: Path) -> Path:
    return write_clips(tmp_path / "clips", 12)


@pytest.fixture
def packed(small_list: Path, tmp_path: Path) -> Path:
    pack_corpus(small_list, tmp_path / "packed", num_workers=0)
    return tmp_path / "packed"


def pack_one(tmp_path: Path, samples: np.ndarray, rate: int, **writing: str) -> np.ndarray:
    soundfile.write(tmp_path / "one.wav", samples, rate, **writing)
    write_list(tmp_path / "one.txt", [(str(tmp_path / "one.wav"), 0)])
    pack_corpus(tmp_path / "one.txt", tmp_path / "one", num_workers=0)
    return PackedCorpus(tmp_path / "one").read(0)


# ---- what is read -----------------------------------------------------------------------------


def test_samples_come_back_to_half_a_step_of_16_bits(tmp_path: Path) -> None:
    samples = noise(1.0, level=0.99).astype(np.float32)
    read = pack_one(tmp_path, samples, RATE, subtype="FLOAT")
    assert read.dtype == np.float32
    reference, _ = soundfile.read(tmp_path / "one.wav", dtype="float64")
    error = np.abs(read.astype(np.float64) - reference).max()
    assert 0.4 * HALF_STEP < error <= HALF_STEP * 1.0001


def test_16_bit_audio_comes_back_exactly(tmp_path: Path) -> None:
    extremes = np.array([-32768, 32767, 0, 1, -1] * 4000, dtype=np.int16)
    read = pack_one(tmp_path, extremes, RATE, subtype="PCM_16")
    reference, _ = soundfile.read(tmp_path / "one.wav", dtype="float32")
    np.testing.assert_array_equal(read, reference)


def test_other_rates_and_stereo_become_mono_at_the_rate_of_the_corpus(tmp_path: Path) -> None:
    stereo = np.stack([noise(1.0, 44100, seed=1), noise(1.0, 44100, seed=2)], axis=1)
    read = pack_one(tmp_path, stereo, 44100, subtype="FLOAT")
    reference = soxr.resample(stereo.mean(axis=1), 44100, RATE)
    np.testing.assert_allclose(read, reference, atol=HALF_STEP + 1e-6)


def test_samples_beyond_full_scale_are_set_to_it_and_counted(tmp_path: Path) -> None:
    samples = noise(1.0).astype(np.float32)
    samples[[5, 10, 15]] = 1.5, -1.5, 1.0
    for name, clip in (("loud", samples), ("fine", noise(1.0))):
        soundfile.write(tmp_path / f"{name}.wav", clip, RATE, subtype="FLOAT")
    write_list(
        tmp_path / "l.txt", [(str(tmp_path / f"{name}.wav"), 0) for name in ("loud", "fine")]
    )
    done = pack_corpus(tmp_path / "l.txt", tmp_path / "out", num_workers=0)
    assert (done.num_clipped_samples, done.num_clipped_clips) == (2, 1)
    top = 32767 / 32768
    assert PackedCorpus(tmp_path / "out").read(0)[[5, 10, 15]].tolist() == [top, -1.0, top]


def test_a_crop_is_a_slice_of_its_clip(packed: Path) -> None:
    corpus = PackedCorpus(packed)
    for clip in (0, 4, len(corpus) - 1):
        whole = corpus.read(clip)
        assert len(whole) == corpus.num_samples[clip] == round(corpus.duration_s(clip) * RATE)
        np.testing.assert_array_equal(whole, soundfile.read(corpus.paths[clip], dtype="float32")[0])
        for bounds in ((0, 100), (300, 900), (9000, 99999), (99999, None), (50, 20), (-70, None)):
            np.testing.assert_array_equal(corpus.read(clip, *bounds), whole[slice(*bounds)])
    crop = corpus.read(0, 0, 5)
    crop[:] = 7  # the caller's own
    assert corpus.read(0, 0, 5).max() < 1


def test_clips_keep_the_order_labels_and_paths_of_the_list(small_list: Path, packed: Path) -> None:
    lines = [line.split("\t") for line in small_list.read_text().splitlines()]
    good = [(path, int(label)) for path, label in lines if Path(path).exists()]
    corpus = PackedCorpus(packed)
    assert list(zip(corpus.paths, corpus.labels.tolist(), strict=True)) == good
    assert corpus.paths[2:5] == [path for path, _ in good[2:5]]
    assert corpus.paths[-1] == good[-1][0]
    with pytest.raises(IndexError):
        corpus.read(len(corpus))
    clips = corpus.as_clip_list()
    assert (len(clips), clips.num_speakers, clips.source) == (len(good), 4, str(packed))
    assert list(clips.paths) == [path for path, _ in good]


def test_a_corpus_pickles_as_its_path(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(packed.parent)
    corpus = PackedCorpus(packed.name)
    pickled, pickled_paths = pickle.dumps(corpus), pickle.dumps(corpus.paths)
    assert len(pickled) < 200 + len(str(packed))
    monkeypatch.chdir(ROOT)  # a worker process may have another working directory
    np.testing.assert_array_equal(pickle.loads(pickled).read(3), corpus.read(3))
    assert pickle.loads(pickled_paths)[3] == corpus.paths[3]


def test_opening_many_clips_costs_no_memory_for_each(tmp_path: Path) -> None:
    num_clips, length, path = 100_000, 16000, b"some/where/clip.wav"
    folder = tmp_path / "many"
    folder.mkdir()
    index = np.zeros(num_clips, dtype=INDEX_DTYPE)
    index["start"] = np.arange(num_clips) * length
    index["path_start"] = np.arange(num_clips) * (len(path) + 1)
    index["length"], index["path_length"] = length, len(path)
    index["crc32"] = zlib.crc32(bytes(2 * length))
    index["label"] = np.arange(num_clips) // 10
    parts = {"index.bin": index.tobytes(), "paths.txt": (path + b"\n") * num_clips}
    files = {"audio.bin": {"bytes": 2 * length * num_clips}}
    with open(folder / "audio.bin", "wb") as stream:
        stream.truncate(files["audio.bin"]["bytes"])  # sparse
    for name, content in parts.items():
        (folder / name).write_bytes(content)
        files[name] = {"bytes": len(content), "crc32": zlib.crc32(content)}
    meta = {"format": "mvector packed clips", "format_version": 1, "kind": "audio", "dtype": "<i2"}
    meta |= {"row_shape": [], "num_clips": num_clips, "sample_rate": RATE, "files": files}
    (folder / "corpus.json").write_text(json.dumps(meta))
    tracemalloc.start()
    try:
        corpus = PackedCorpus(folder)
        assert len(corpus.as_clip_list()) == num_clips
        assert corpus.read(99_999, 5, 9).shape == (4,)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (
        peak < 2_000_000
    )  # one list of the clips alone would take more, and the index takes 3.2 MB
    assert corpus.as_clip_list().num_speakers == 10_000
    assert corpus.paths[77_777] == path.decode()


# ---- what is refused --------------------------------------------------------------------------


def test_a_truncated_file_is_refused(packed: Path) -> None:
    for name in ("audio.bin", "paths.txt", "index.bin"):
        content = (packed / name).read_bytes()
        (packed / name).write_bytes(content[:-100])
        with pytest.raises(
            DataError, match=rf"{name}' is cut short: it has \d+ bytes where .*says"
        ):
            PackedCorpus(packed)
        (packed / name).write_bytes(content)
    PackedCorpus(packed)


def test_the_index_of_another_corpus_is_refused(packed: Path, tmp_path: Path) -> None:
    clips = sorted((tmp_path / "clips").glob("*.wav"))
    write_list(tmp_path / "other.txt", [(str(path), 0) for path in reversed(clips)])
    pack_corpus(tmp_path / "other.txt", tmp_path / "other", num_workers=0)
    mine = (packed / "index.bin").read_bytes()
    shutil.copy(tmp_path / "other" / "index.bin", packed)
    with pytest.raises(DataError, match=r"index.bin' is the index of another corpus"):
        PackedCorpus(packed)
    (packed / "index.bin").write_bytes(mine)
    shutil.copy(tmp_path / "other" / "audio.bin", packed)  # of the same size
    with pytest.raises(DataError, match=r"audio.bin' does not belong to its index"):
        PackedCorpus(packed)


def test_a_missing_part_another_version_and_other_folders_are_refused(
    packed: Path, tmp_path: Path
) -> None:
    meta = json.loads((packed / "corpus.json").read_text())
    broken = {
        "format version 2 and this program reads version 1": meta | {"format_version": 2},
        "holds packed features, not audio": meta | {"kind": "features"},
        "corpus.json' is damaged": {"anything": 1},
    }
    for reason, content in broken.items():
        (packed / "corpus.json").write_text(json.dumps(content))
        with pytest.raises(DataError, match=reason):
            PackedCorpus(packed)
    (packed / "corpus.json").write_text(json.dumps(meta))
    os.rename(packed / "paths.txt", packed / "gone")
    with pytest.raises(DataError, match=r"lacks its part 'paths.txt'"):
        PackedCorpus(packed)
    with pytest.raises(DataError, match=r"nothing' does not exist; make it with tools/pack_corpus"):
        PackedCorpus(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"is no packed folder, as it has no corpus.json"):
        PackedCorpus(tmp_path / "clips")
    assert [is_packed(tmp_path / name) for name in ("packed", "clips", "nothing")] == [1, 0, 0]
    assert not is_packed(tmp_path / "clips" / "list.txt")


def test_damage_in_the_middle_is_found_by_verifying(
    packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script("pack_corpus", ["--verify", str(packed)]) == 0
    assert "All 10 clips" in capsys.readouterr().out
    corpus = PackedCorpus(packed)
    content = bytearray((packed / "audio.bin").read_bytes())
    content[2 * int(corpus.num_samples[:3].sum()) + 40] ^= 1
    (packed / "audio.bin").write_bytes(content)
    assert run_script("pack_corpus", ["--verify", str(packed)]) == 2
    assert (
        f"1 of 10 clips in '{packed}' are damaged: '{corpus.paths[3]}'" in capsys.readouterr().err
    )


# ---- packing ----------------------------------------------------------------------------------


def test_bad_clips_are_left_out_and_listed_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    soundfile.write(tmp_path / "good.wav", noise(1.0), RATE)
    soundfile.write(tmp_path / "short.wav", noise(0.1), RATE)
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    (tmp_path / "text.wav").write_text("not audio")
    names = ("missing.wav", "good.wav", "short.wav", "silent.wav", "text.wav")
    write_list(tmp_path / "list.txt", [(name, k) for k, name in enumerate(names)])
    out = tmp_path / "out"
    arguments = [str(tmp_path / "list.txt"), str(out), "--data_root", str(tmp_path)]
    assert run_script("pack_corpus", [*arguments, "--num_workers", "1"]) == 0
    assert "Left out:  4 bad clips, listed in" in capsys.readouterr().out
    lines = (out / "bad_clips.txt").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == [
        str(tmp_path / name) for name in names if name != "good.wav"
    ]
    for line, reason in zip(lines, ("not exist", "too short", "silent", "not audio"), strict=True):
        assert reason in line.split("\t")[1]
    corpus = PackedCorpus(out)
    assert (list(corpus.paths), corpus.labels.tolist()) == ([str(tmp_path / "good.wav")], [1])


def test_a_list_without_a_good_clip_leaves_nothing_behind(tmp_path: Path) -> None:
    write_list(tmp_path / "list.txt", [("a.wav", 0), ("b.wav", 1)])
    with pytest.raises(
        DataError, match=r"None of the 2 clips can be used; the first, 'a.wav', does"
    ):
        pack_corpus(tmp_path / "list.txt", tmp_path / "out", num_workers=0)
    assert [path.name for path in tmp_path.iterdir()] == ["list.txt"]


def test_the_number_of_processes_changes_nothing(small_list: Path, tmp_path: Path) -> None:
    for num_workers in (0, 2):
        pack_corpus(small_list, tmp_path / str(num_workers), num_workers=num_workers)
    assert same_files(tmp_path / "0", tmp_path / "2")
    assert len(PackedCorpus(tmp_path / "2")) == 10


def test_an_existing_folder_is_replaced_only_when_asked_and_only_if_packed(
    small_list: Path, packed: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"packed' exists already; .*--overwrite"):
        pack_corpus(small_list, packed, num_workers=0)
    before = PackedCorpus(packed)
    samples = before.read(1)
    pack_corpus(small_list, packed, sample_rate=8000, num_workers=0, overwrite=True)
    assert PackedCorpus(packed).sample_rate == 8000
    np.testing.assert_array_equal(before.read(1), samples)  # what is open stays as it was
    with pytest.raises(DataError, match=r"clips' is no packed folder, so --overwrite does not"):
        pack_corpus(small_list, tmp_path / "clips", num_workers=0, overwrite=True)
    assert small_list.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "packed"]


def stop_after(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let packing fail, as if by a crash, when the clip after ``count`` is written."""
    append = PackWriter.append

    def failing(self: PackWriter, *args: object) -> None:
        if self.progress.num_clips >= count:
            raise KeyboardInterrupt
        append(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(PackWriter, "append", failing)


def test_unfinished_work_does_not_open_and_goes_on_only_as_it_began(
    small_list: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        stop_after(7, patch)
        with pytest.raises(KeyboardInterrupt):
            pack_corpus(small_list, out, num_workers=0, clips_per_commit=4)
    for path in (out, tmp_path / "out.partial"):
        with pytest.raises(DataError, match=r"still being packed, or packing was cut off"):
            PackedCorpus(path)
        assert is_packed(path)
        assert packed_kind(path) == "audio"
    with pytest.raises(
        DataError, match=r"begun otherwise \(sample_rate was 16000 and is 8000\).*dele"
    ):
        pack_corpus(small_list, out, num_workers=0, sample_rate=8000)
    lines = small_list.read_text()
    small_list.write_text(lines + lines)
    with pytest.raises(DataError, match=r"\(list_sha256 was '"):
        pack_corpus(small_list, out, num_workers=0)
    small_list.write_text(lines)
    with open(tmp_path / "out.partial" / "journal.jsonl", "a") as stream:
        stream.write('{"num_listed": 9, "num')  # torn by a crash
    pack_corpus(small_list, out, num_workers=0, clips_per_commit=4)
    assert same_files(out, packed)


def test_two_processes_do_not_write_one_corpus(small_list: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    code = (
        "import sys, numpy as np; from pathlib import Path\n"
        "from mvector.data.pack_writer import PackWriter\n"
        "PackWriter(Path(sys.argv[1]), kind='audio', dtype=np.dtype('<i2'), row_shape=(), job={})\n"
        "print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out")],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=r"Another process is writing"):
            pack_corpus(small_list, tmp_path / "out", num_workers=0)


def test_a_killed_run_goes_on_and_gives_the_same_bytes(tmp_path: Path) -> None:
    """kill -9 at a random moment, with worker processes; these must not live on either."""
    clips = write_clips(tmp_path / "clips", 900, rate=4000, duration_s=0.5)
    pack_corpus(clips, tmp_path / "reference", num_workers=0, sample_rate=4000)
    arguments = [str(clips), str(tmp_path / "out"), "--sample_rate", "4000", "--num_workers", "2"]
    journal = tmp_path / "out.partial" / "journal.jsonl"
    for _ in range(20):
        run = subprocess.Popen([sys.executable, TOOL, *arguments], start_new_session=True)
        while not (journal.exists() and journal.stat().st_size) and run.poll() is None:
            time.sleep(0.001)
        time.sleep(random.uniform(0, 0.05))
        os.kill(run.pid, signal.SIGKILL)
        if run.wait() == -signal.SIGKILL:
            break
        shutil.rmtree(tmp_path / "out")  # on a busy machine it may end before: again
    assert 256 <= json.loads(journal.read_text().splitlines()[-1])["num_listed"] <= 900
    with raises_code("packed-not-there"):
        PackedCorpus(tmp_path / "out")
    for _ in range(3000):
        if not living(run.pid):
            break
        time.sleep(0.1)
    assert not living(run.pid)
    assert run_script("pack_corpus", arguments) == 0
    assert same_files(tmp_path / "out", tmp_path / "reference")


def living(group: int) -> list[str]:
    """Processes of a group that have not ended, where the system tells."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(pgrp) == group and state not in "ZX":
            found.append(stat.parent.name)
    return found


def test_a_full_disk_is_one_sentence_and_loses_nothing(
    small_list: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, left = os.write, 100_000

    def full(descriptor: int, data: bytes) -> int:
        nonlocal left
        if len(data) > left > 0:
            data = data[:left]  # as a real disk writes a part first
        elif len(data) > left:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= len(data)
        return write(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DataError, match=r"The disk is full: free some space and run the same"):
            pack_corpus(small_list, tmp_path / "out", num_workers=0, clips_per_commit=2)
    assert not (tmp_path / "out").exists()
    pack_corpus(small_list, tmp_path / "out", num_workers=0, clips_per_commit=2)
    assert same_files(tmp_path / "out", packed)


def test_a_real_full_disk(small_list: Path, packed: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    tool = f"'{sys.executable}' '{TOOL}' '{small_list}' '{disk}/out' --num_workers 1"
    script = f"""
mount -t tmpfs -o size=128k none '{disk}' || exit 77
{tool}
echo "exit code $?"; ls '{disk}'
mount -o remount,size=4m '{disk}'
{tool} && cp -r '{disk}/out' '{tmp_path}/out'
"""
    if not shutil.which("unshare"):
        pytest.skip("no unshare to mount a small disk with")
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True, cwd=ROOT
    )
    if run.returncode in (1, 77) and "exit code" not in run.stdout:
        pytest.skip(f"mounting a small disk is not permitted: {run.stderr.strip()}")
    assert run.stdout.startswith("exit code 2\nout.partial\n"), run.stdout + run.stderr
    assert "error: The disk is full: free some space" in run.stderr
    assert same_files(tmp_path / "out", packed)
