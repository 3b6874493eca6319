"""The wheel: what lies in it, what it says of itself, and that it works outside the repository."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest
from small_settings import ROOT

import mvector

pytest.importorskip("setuptools", minversion="77", reason="an older one cannot read pyproject.toml")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the package is built from: building writes beside its sources."""
    from shutil import copy, copytree, ignore_patterns

    target = tmp_path_factory.mktemp("source")
    for name in ("mvector", "configs", "docs", "dataset/samples"):
        copytree(ROOT / name, target / name, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "CHANGELOG.md"):
        copy(ROOT / name, target)
    return target


def build(what: str, source: Path, out: Path) -> Path:
    """Build with the installed setuptools, as pip does, and without a network."""
    code = f"from setuptools import build_meta; print(build_meta.build_{what}({str(out)!r}))"
    run = subprocess.run([sys.executable, "-c", code], cwd=source, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return out / run.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked as an installation has it."""
    built = build("wheel", source, tmp_path_factory.mktemp("built"))
    site = tmp_path_factory.mktemp("site-packages")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    (folder,) = wheel.glob("*.dist-info")
    return message_from_string((folder / "METADATA").read_text(encoding="utf-8"))


def files_of(folder: Path, *patterns: str) -> dict[str, bytes]:
    found = [path for pattern in patterns for path in folder.rglob(pattern)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_every_module_and_all_shipped_data_are_in_the_wheel(wheel: Path) -> None:
    package = ("*.py", "py.typed", "pretrained/*/*", "published/*.yml", "service/page/*")
    assert files_of(wheel / "mvector", *package) == files_of(ROOT / "mvector", *package)
    assert files_of(wheel / "mvector" / "configs", "*") == files_of(ROOT / "configs", "*.yml")
    samples = ROOT / "dataset" / "samples"
    shipped = files_of(wheel / "mvector" / "samples", "*.*")
    assert shipped == files_of(samples, "*.flac", "*.md")
    assert len(shipped) == 9


def test_licence_and_changes_are_in_the_wheel(wheel: Path, metadata: Message) -> None:
    (folder,) = wheel.glob("*.dist-info")
    assert (folder / "licenses" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE"]
    (documents,) = wheel.glob("*.data/data/share/doc/mvector")
    assert {"CHANGELOG.md", "model_card.md", "errors.md"} <= {
        path.name for path in documents.iterdir()
    }


def test_no_requirement_is_the_project_itself(metadata: Message) -> None:
    """On the package index this name is another project, which pip would install."""
    needed = metadata.get_all("Requires-Dist") or []
    assert needed
    assert not [line for line in needed if line.startswith("mvector")]


def test_the_version_is_above_those_of_the_other_project(metadata: Message) -> None:
    assert metadata["Version"] == mvector.__version__
    assert int(mvector.__version__.split(".")[0]) >= 2


def test_from_the_wheel_configurations_are_found_in_any_folder(wheel: Path, tmp_path: Path) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(wheel)!r}]
from pathlib import Path
import mvector
from mvector.cli import main
assert Path(mvector.__file__).is_relative_to({str(wheel)!r}), mvector.__file__
assert main(["configs", "--copy", "mine"]) == 0
print(mvector.load_config("CAMPPlus").use_model)
print(mvector.load_config("mine/tdnn.yml").use_model)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-2:] == ["CAMPPlus", "TDNN"]
    assert files_of(tmp_path / "mine", "*") == files_of(ROOT / "configs", "*.yml")


def test_a_source_distribution_makes_the_same_wheel(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    import tarfile

    with tarfile.open(build("sdist", source, tmp_path)) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    again = build("wheel", unpacked, tmp_path)
    with zipfile.ZipFile(again) as archive:
        assert set(archive.namelist()) == {
            path.relative_to(wheel).as_posix() for path in wheel.rglob("*") if path.is_file()
        }
    assert (unpacked / "LICENSE").is_file()
    assert (unpacked / "CHANGELOG.md").is_file()


def test_setup_py_states_the_version(source: Path) -> None:
    run = subprocess.run(
        [sys.executable, "setup.py", "--version"], capture_output=True, text=True, cwd=source
    )
    assert run.stdout.strip().splitlines()[-1] == mvector.__version__
