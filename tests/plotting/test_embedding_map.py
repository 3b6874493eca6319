"""A map of voices: whose clips are drawn, where they lie, and how alike they are."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from error_codes import raises_code

from mvector.audio import write_wav
from mvector.data import write_list
from mvector.embedding.files import write_embeddings
from mvector.errors import MissingDependencyError
from mvector.plotting.embedding_map import embedding_figure, pair_scores, project
from mvector.plotting.voices import find_voices

GENERATOR = np.random.default_rng(0)
SPEAKER = np.repeat(np.arange(4), 8)
EMBEDDINGS = (4.0 * np.eye(4)[SPEAKER] + 0.3 * GENERATOR.normal(size=(32, 4))).astype(np.float32)


# ---- whose clips ---------------------------------------------------------------------------------


def test_speakers_of_a_file_of_embeddings_are_called_by_their_folders(tmp_path: Path) -> None:
    paths = ["a/Ada/1.wav", "a/Ada/2.wav", "a/王伟/1.wav", "a/王伟/2.wav"]
    write_embeddings(tmp_path / "e.npz", paths, EMBEDDINGS[:4], np.array([0, 0, 7, 7]))
    voices = find_voices(tmp_path / "e.npz")
    assert voices.names == ["Ada", "王伟"]
    assert voices.speaker.tolist() == [0, 0, 1, 1]


def test_where_folders_do_not_fit_the_labels_are_the_names(tmp_path: Path) -> None:
    write_list(tmp_path / "list.txt", [("x/1.wav", 3), ("x/2.wav", 5), ("y/3.wav", 5)])
    voices = find_voices(tmp_path / "list.txt")
    assert voices.names == ["3", "5"]
    assert voices.embeddings is None


def test_speakers_may_be_folders_above_those_of_sessions(tmp_path: Path) -> None:
    entries = [("id1/a/1.wav", 0), ("id1/b/1.wav", 0), ("id2/c/1.wav", 1), ("id2/d/1.wav", 1)]
    write_list(tmp_path / "list.txt", entries)
    assert find_voices(tmp_path / "list.txt").names == ["id1", "id2"]


def test_a_folder_of_speakers(tmp_path: Path) -> None:
    for name in ("Ada/1.wav", "Bob/1.wav"):
        (tmp_path / name).parent.mkdir()
        write_wav(tmp_path / name, np.zeros(800, np.float32), 16000)
    voices = find_voices(tmp_path)
    assert voices.names == ["Ada", "Bob"]


def test_embeddings_that_are_not_finite_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = EMBEDDINGS[:5].copy()
    rows[1, 2], rows[3] = np.nan, 0.0
    write_embeddings(tmp_path / "e.npz", list("abcde"), rows, np.array([0, 0, 1, 1, 1]))
    voices = find_voices(tmp_path / "e.npz")
    assert voices.paths == ["a", "c", "e"]
    assert voices.num_left_out == 2


def test_one_speaker_is_refused(tmp_path: Path) -> None:
    write_list(tmp_path / "list.txt", [("1.wav", 3), ("2.wav", 3)])
    with raises_code("data"):
        find_voices(tmp_path / "list.txt")
    write_embeddings(tmp_path / "e.npz", ["1.wav", "2.wav"], EMBEDDINGS[:2])
    with raises_code("data"):
        find_voices(tmp_path / "e.npz")


def test_of_many_clips_some_are_chosen_evenly(tmp_path: Path) -> None:
    paths = [f"{k}.wav" for k in range(32)]
    write_embeddings(tmp_path / "e.npz", paths, EMBEDDINGS, SPEAKER)
    voices = find_voices(tmp_path / "e.npz")
    assert voices.chosen(32) is voices
    eight = voices.chosen(8)
    assert eight.names == voices.names
    assert np.bincount(eight.speaker).tolist() == [2] * 4
    np.testing.assert_array_equal(eight.embeddings, EMBEDDINGS[[int(p[:-4]) for p in eight.paths]])
    few = voices.chosen(4)  # fewer speakers, each with a pair
    assert np.bincount(few.speaker).tolist() == [2, 2]


# ---- the map -------------------------------------------------------------------------------------


def test_principal_components_keep_the_distances_of_a_plane() -> None:
    angles = np.linspace(0.1, 1.4, 9)
    rows = 5.0 * np.stack([np.cos(angles), np.zeros(9), np.sin(angles)], axis=1)
    points = project(rows, "pca")
    expected = np.linalg.norm(rows[:, None] - rows[None], axis=2) / 5.0  # of unit vectors
    found = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_tsne_puts_clips_of_a_speaker_beside_each_other() -> None:
    points = project(EMBEDDINGS, "tsne")
    np.testing.assert_array_equal(points, project(EMBEDDINGS, "tsne"))
    ways = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag([np.inf] * 32)
    assert (SPEAKER[ways.argmin(axis=1)] == SPEAKER).all()


def test_a_handful_of_clips_is_projected_whatever_the_method() -> None:
    assert np.isfinite(project(EMBEDDINGS[:2], "tsne")).all()
    np.testing.assert_array_equal(project(EMBEDDINGS[:4], "umap"), project(EMBEDDINGS[:4], "pca"))


def test_umap_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match="umap-learn, which is not installed"):
        project(EMBEDDINGS, "umap")
    asked: dict[str, object] = {}

    def mapper(**options: object) -> SimpleNamespace:
        asked.update(options)
        return SimpleNamespace(fit_transform=lambda rows: rows[:, :2])

    module = ModuleType("umap")
    module.UMAP = mapper  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "umap", module)
    assert project(EMBEDDINGS, "umap").shape == (32, 2)
    assert asked["n_neighbors"] == 15


def test_all_pairs_are_scored_once() -> None:
    scores, same = pair_scores(EMBEDDINGS[:10], SPEAKER[:10])
    pairs = [(i, j) for i in range(10) for j in range(i + 1, 10)]
    unit = EMBEDDINGS / np.linalg.norm(EMBEDDINGS, axis=1, keepdims=True)
    np.testing.assert_allclose(scores, [unit[i] @ unit[j] for i, j in pairs], atol=1e-6)
    assert same.tolist() == [SPEAKER[i] == SPEAKER[j] for i, j in pairs]


def test_names_are_drawn_as_they_are_and_others_are_grey() -> None:
    names = ["_hidden", "$x$", "Ada", "zed"]
    figure, _ = embedding_figure(EMBEDDINGS, SPEAKER, names, method="pca", num_named=3)
    plane, histogram = figure.axes
    shown = [text.get_text() for text in plane.get_legend().get_texts()]
    assert shown == ["_hidden", "$x$", "Ada", "1 other"]
    assert len({tuple(marks.get_facecolor()[0]) for marks in plane.collections}) == 4
    assert "EER 0.00 % (112 same, 384 different)" in histogram.get_title()
    picture = figure._repr_png_()  # as notebooks show it; a formula would fail here
    assert picture.startswith(b"\x89PNG")


def test_without_two_clips_of_anybody_there_is_a_map_alone() -> None:
    figure, _ = embedding_figure(EMBEDDINGS[::8], np.arange(4), list("abcd"), method="pca")
    assert figure.axes[1].get_title() == "Pairs of clips: nobody has two"
