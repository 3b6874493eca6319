"""What installing and importing promise."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet
from small_settings import ROOT

import mvector

MODULES = sorted((ROOT / "mvector").rglob("*.py"))
OPTIONAL = (
    *("torchaudio", "librosa", "matplotlib", "visualdl", "torchinfo", "pyaudio", "av"),
    *("faiss", "cryptography", "silero_vad", "onnx", "pyarrow", "tensorboard"),
)


def run_python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_everything_imports_and_training_works_without_optional_packages(
    small_config: dict, tmp_path: Path
) -> None:
    small_config["train_conf"]["max_epoch"] = 1
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in MODULES
    ]
    hidden = "\n".join(f"sys.modules[{name!r}] = None" for name in OPTIONAL)
    imports = "\n".join(f"import {module}" for module in modules)
    code = f"""
import sys
{hidden}
{imports}
from mvector import MVectorPredictor, MVectorTrainer
best = MVectorTrainer({small_config!r}, use_gpu=False).train({str(tmp_path / "m")!r},
                                                             {str(tmp_path / "log")!r})
clip = {str(Path(small_config["dataset_conf"]["train_list"]))!r}
clip = open(clip).readline().split("\\t")[0]
print(MVectorPredictor(best, use_gpu=False).contrast(clip, clip) > 0.999)
"""
    assert run_python(code).endswith("True")


def test_importing_mvector_loads_neither_torch_nor_anything_optional() -> None:
    names = ("torch", "onnxruntime", *OPTIONAL)
    assert (
        run_python(f"import sys, mvector\nprint([n for n in {names} if n in sys.modules])") == "[]"
    )


def test_the_public_names_are_there() -> None:
    from mvector.audio import read_audio
    from mvector.config import ConfigError, load_config
    from mvector.embedding import SpeakerEncoder
    from mvector.evaluation.metrics import compute_eer, compute_min_dcf
    from mvector.features import build_featurizer
    from mvector.losses import LOSSES, build_loss
    from mvector.models import BACKBONES, build_backbone
    from mvector.speakers import SpeakerLibrary

    assert mvector.load_config is load_config
    assert mvector.read_audio is read_audio
    assert set(mvector.__all__) <= set(dir(mvector)) | set(mvector._HOMES)
    assert issubclass(ConfigError, mvector.errors.MVectorError)  # type: ignore[attr-defined]
    for thing in (compute_eer, compute_min_dcf, build_featurizer, build_loss, build_backbone):
        assert callable(thing)
    assert "EcapaTdnn" in BACKBONES
    assert {"AAMLoss", "CELoss"} <= set(LOSSES)
    assert SpeakerEncoder.from_folder
    assert SpeakerLibrary.identify
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mvector.nothing


def test_requirements_are_pinned_and_need_no_compiler() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    named = [line for line in lines if line and not line.startswith("#")]
    for line in named:
        assert re.match(r"[\w.-]+==[\w.]+", line), line
    (pyaudio,) = [line for line in named if line.startswith("pyaudio")]
    assert 'sys_platform == "win32"' in pyaudio


def test_requirements_are_for_the_oldest_python_that_is_promised() -> None:
    """A version that dropped it has a marker, and an older one beside it."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (oldest,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if found := re.fullmatch(r"([\w.-]+)==\S+", line):
            with contextlib.suppress(PackageNotFoundError):
                wanted = metadata(found[1])["Requires-Python"] or ""
                assert SpecifierSet(wanted).contains(oldest), line


def test_the_quick_start_installs_the_package_and_make_does_the_same() -> None:
    recipe = re.findall(r"\$\(BIN\)/(python -m pip install -.*)", (ROOT / "Makefile").read_text())
    installs = [line for line in recipe if "--upgrade pip" not in line]
    assert any(line.endswith("-e .") for line in installs)
    block = re.search(r"without make:\n\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert block is not None
    assert re.findall(r"python -m pip install -.*", block[1]) == installs


def test_the_changes_begin_with_those_of_this_version() -> None:
    headings = re.findall(r"^## (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == mvector.__version__


def test_the_lowest_versions_tested_are_those_declared() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = dict(re.findall(r'"([\w-]+)>=([\w.]+)"', project.split("\ndependencies")[1]))
    tools = ("ruff", "mypy", "mkdocs-material", "mkdocstrings-python")
    for not_tested in ("pyaudio", "playwright", *tools):
        del declared[not_tested]
    text = (ROOT / "requirements-lowest.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == [f"{name}=={version}" for name, version in declared.items()]


def test_every_package_that_is_imported_is_declared() -> None:
    """A package that comes along with another one may stop to, or come in any version."""
    imported = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    others = imported - {"mvector", *sys.stdlib_module_names}
    names = {"yaml": "pyyaml", "sklearn": "scikit-learn", "faiss": "faiss-cpu"}
    text = (ROOT / "requirements-lowest.txt").read_text(encoding="utf-8")
    not_declared = {
        name for name in others if f"\n{names.get(name, name).replace('_', '-')}==" not in text
    }
    assert not_declared == {"pyaudio", "pydantic_core"}  # the latter is a part of pydantic


TEXTS = sorted(
    path
    for pattern in ("*.md", "*.txt", "*.toml", "Makefile", "configs/*.yml", "*/*.md", "*/*/*.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith(".")
)


def test_texts_name_packages_to_install_and_no_extra_of_a_bare_name() -> None:
    """On the package index ``mvector`` is another project, whose extras would be installed.

    ``pip install .`` and ``'.[media]'`` mean the clone; a name, the package that is missing.
    """
    project = (ROOT / "pyproject.toml").read_text()
    listed = project.split("\ndependencies")[1].split("[project.scripts]")[0]
    packages = {*re.findall(r'"([\w-]+)', listed), "tensorboard"}
    scripts = [*ROOT.glob("*.py"), *ROOT.glob("tools/*.py"), *ROOT.glob("benchmarks/*")]
    named_somewhere = set()
    for path in {*TEXTS, *MODULES, *scripts}:
        text = re.sub(r'"\n\s*f?"', "", path.read_text(encoding="utf-8"))
        assert "mvector[" not in text, path
        for named in re.findall(r"pip\s+install\s+(?:-U |--upgrade )?([a-z][\w -]*)", text):
            words = {word for word in named.split() if not word.startswith("-")}
            assert words <= {*packages, "pip"}, (path, named)
            named_somewhere |= words
    assert {"av", "matplotlib", "pyarrow", "faiss-cpu", "cryptography"} <= named_somewhere


def test_the_extra_all_has_every_package_of_the_others_but_those_of_developers() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.split("[project.optional-dependencies]\n")[1].split("\n\n[")[0]
    extras = {
        name: re.findall(r'"([^"]+)"', packages)
        for name, packages in re.findall(r"^(\w+) = \[(.*?)\]$", section, re.M | re.S)
    }
    of_users = [
        package for name in extras if name not in ("all", "dev") for package in extras[name]
    ]
    assert sorted(extras["all"]) == sorted({*of_users})


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_package_keeps_its_manners(path: Path) -> None:
    """No module prints, exits, silences warnings, or imports a heavy package at the top."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {
        name.split(".")[0]
        for node in top
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
        )
    }
    assert not imported & {*OPTIONAL, "onnxruntime", "sklearn", "scipy"}
    if "cli" in path.parts:
        return
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"print", "exit", "sys.exit", "warnings.filterwarnings", "os.putenv"}


# Each room may use the rooms above it, and none below. What lies at the top is for all.
ROOMS = (
    "config",
    "audio",
    "compute",
    "features",
    "published",
    "models",
    "losses",
    "data",
    "corpus",
    "embedding",
    "export",
    "scoring",
    "evaluation",
    "speakers",
    "diarization",
    "recognition",
    "training",
    "compat",
    "demo",
    "plotting",
    "service",
    "cli",
)
FOR_ALL = {"errors", "files", "home", "lazy", "progress", "shipped", "version", "__version__"}
FAMILIAR = {"trainer", "predict"}  # short names of a module each, for those who import them


def imported_rooms(path: Path) -> set[str]:
    """The parts of the package that a module imports, at its top or within a function."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            is_package = node.module == "mvector"
            names += [f"mvector.{a.name}" for a in node.names] if is_package else [node.module]
    return {name.split(".")[1] for name in names if name.startswith("mvector.")}


def test_rooms_depend_on_each_other_one_way() -> None:
    """audio -> features -> models -> embedding -> scoring -> evaluation -> recognition."""
    for number, room in enumerate(ROOMS):
        above = {*ROOMS[: number + 1], *FOR_ALL}
        for path in (ROOT / "mvector" / room).rglob("*.py"):
            assert imported_rooms(path) <= above, path


def test_every_module_is_in_a_room() -> None:
    package = ROOT / "mvector"
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms == set(ROOMS)
    at_the_top = {path.stem for path in package.glob("*.py")}
    assert at_the_top == {"__init__", "__main__", *FOR_ALL, *FAMILIAR} - {"__version__"}


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_help_lists_the_targets() -> None:
    run = subprocess.run(["make", "-C", str(ROOT), "help"], capture_output=True, text=True)
    assert run.returncode == 0
    told = set(re.findall(r"^make ([a-z-]+)  ", run.stdout, re.MULTILINE))
    declared = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert declared is not None
    assert told == set(declared[1].split())
