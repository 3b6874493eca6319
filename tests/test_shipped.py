"""What comes with the package is found from anywhere, and a user's own file comes first."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_settings import ROOT

from mvector import load_config, shipped
from mvector.config import load_augment_config
from mvector.errors import ConfigError
from mvector.shipped import find_config, shipped_configs, shipped_folder

SHIPPED = ROOT / "configs" / "ecapa_tdnn.yml"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["ecapa_tdnn", "ecapa_tdnn.yml", "EcapaTdnn", "ecapa-tdnn"])
def test_a_name_finds_the_configuration_that_comes_along(name: str) -> None:
    assert find_config(name) == SHIPPED
    assert load_config(name) == load_config(SHIPPED)


def test_an_augmentation_is_found_by_name_too() -> None:
    assert load_augment_config("augmentation") == load_augment_config(
        ROOT / "configs" / "augmentation.yml"
    )


def test_a_file_of_that_path_comes_first_and_then_the_copy_in_configs() -> None:
    Path("configs").mkdir()
    shutil.copy(SHIPPED, "configs/ecapa_tdnn.yml")
    assert find_config("ecapa_tdnn") == Path("configs/ecapa_tdnn.yml")
    shutil.copy(SHIPPED, "ecapa_tdnn")
    assert find_config("ecapa_tdnn") == Path("ecapa_tdnn")
    assert find_config("configs/ecapa_tdnn.yml") == Path("configs/ecapa_tdnn.yml")


def test_a_folder_of_that_name_is_no_configuration() -> None:
    Path("tdnn").mkdir()
    assert find_config("tdnn") == ROOT / "configs" / "tdnn.yml"


@pytest.mark.parametrize(
    ("named", "cure"),
    [
        (
            "configs/ecapa_tdnn.yml",
            "'ecapa_tdnn' alone names the one that comes with the package, which 'mvector configs "
            "--copy DIR' copies.",
        ),
        ("mine/my.yml", "check the path."),
        ("eres2nt", "check the path, or name one that comes with the package: eres2net."),
        (
            "my.yml",
            f"check the path, or name one that comes with the package: "
            f"{', '.join(path.stem for path in sorted((ROOT / 'configs').glob('*.yml')))}.",
        ),
    ],
)
def test_a_path_that_is_not_there_is_not_replaced_by_another_file(named: str, cure: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(named)
    assert str(raised.value) == f"The configuration file '{named}' does not exist; {cure}"


def test_installed_the_data_lies_beside_the_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shipped_folder("samples") == ROOT / "dataset" / "samples"
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "site-packages" / "mvector")
    for name in ("configs", "samples"):
        (tmp_path / "site-packages" / "mvector" / name).mkdir(parents=True)
        assert shipped_folder(name) == tmp_path / "site-packages" / "mvector" / name
    assert shipped_configs() == {}
