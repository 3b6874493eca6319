"""Averages of weights against sums in float64, and the command that makes them of model folders."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from small_settings import ROOT
from torch import nn
from torch.optim.swa_utils import update_bn

from mvector.cli import run_script
from mvector.config import load_config
from mvector.data import read_list, write_list
from mvector.errors import CheckpointError, ConfigError
from mvector.models.folder import load_model_folder, save_model_folder
from mvector.models.speaker_model import SpeakerModel
from mvector.training.averaging import average_model_folders, recompute_batch_norm
from mvector.training.exponential_average import ExponentialAverage


def small_network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)).to(dtype)


def shake(network: nn.Module) -> None:
    """Change every tensor, as a step of training does."""
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(torch.randn(value.shape) if value.is_floating_point() else 1)


def content(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        torch.equal(value, expected[name]) for name, value in found.items()
    )


def averaged(average: ExponentialAverage, network: nn.Module) -> dict[str, torch.Tensor]:
    with average.swapped_in():
        return content(network)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_the_average_equals_the_sum_over_all_steps(decay: float, dtype: torch.dtype) -> None:
    network = small_network(dtype)
    average = ExponentialAverage(network, decay)
    expected = {name: value.double() for name, value in content(network).items()}
    for step in range(30):
        shake(network)
        average.update()
        kept = min(decay, (1 + step) / (10 + step))
        for name, value in content(network).items():
            expected[name] = kept * expected[name] + (1 - kept) * value.double()
    found = average.state_dict()["averages"]
    for name, value in expected.items():
        if value.shape:
            torch.testing.assert_close(found[name].double(), value, rtol=1e-5, atol=1e-6)
            assert found[name].dtype == torch.float32


def test_the_first_steps_are_forgotten_fast() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 1000.0)
    average = ExponentialAverage(network, 0.9999)
    nn.init.constant_(network.weight, 1.0)
    for _ in range(100):
        average.update()
    # 0.9999 from the start would have left 990 of the 1000
    assert averaged(average, network)["weight"].item() == pytest.approx(1.0, abs=1e-5)


def test_integers_are_copied_and_running_statistics_averaged() -> None:
    network = small_network()
    average = ExponentialAverage(network, 0.5)
    before = content(network)
    shake(network)
    average.update()
    found = averaged(average, network)
    assert found["1.num_batches_tracked"] == 1
    expected = 0.1 * before["1.running_mean"] + 0.9 * network[1].running_mean
    torch.testing.assert_close(found["1.running_mean"], expected)


def test_swapping_in_is_undone_exactly_even_after_an_error() -> None:
    network = small_network()
    average = ExponentialAverage(network, 0.9)
    for _ in range(3):
        shake(network)
        average.update()
    before, state = content(network), average.state_dict()["averages"]

    def fail_to_evaluate() -> None:
        with average.swapped_in():
            assert same(content(network), state)
            raise RuntimeError("evaluation failed")

    with pytest.raises(RuntimeError, match="evaluation failed"):
        fail_to_evaluate()
    assert same(content(network), before)
    assert not same(before, state)


def test_an_optimizer_does_not_notice_the_swap() -> None:
    def train(swap: bool) -> dict[str, torch.Tensor]:
        network = small_network()
        optimizer = torch.optim.Adam(network.parameters(), 0.1)
        average = ExponentialAverage(network, 0.9)
        generator = torch.Generator().manual_seed(1)
        for _ in range(4):
            optimizer.zero_grad()
            network(torch.randn(6, 5, generator=generator)).square().sum().backward()
            optimizer.step()
            average.update()
            if swap:
                averaged(average, network)
        return content(network)

    assert same(train(swap=True), train(swap=False))


def test_a_resumed_average_goes_on_bit_for_bit() -> None:
    network = small_network()
    average = ExponentialAverage(network, 0.999)
    for _ in range(5):
        shake(network)
        average.update()
    file = io.BytesIO()
    torch.save({"average": average.state_dict(), "network": network.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed_network = small_network()
    resumed_network.load_state_dict(saved["network"])
    resumed = ExponentialAverage(resumed_network, 0.999)
    resumed.load_state_dict(saved["average"])
    for each in (network, resumed_network):
        torch.manual_seed(7)
        for _ in range(3):
            shake(each)
            (average if each is network else resumed).update()
    assert resumed.num_updates == average.num_updates == 8
    assert same(averaged(resumed, resumed_network), averaged(average, network))


@pytest.mark.parametrize(
    ("saved_with", "goes_on"),
    [({"decay": 0.9}, True), ({}, True), ({"decay": 0.5}, False), (None, False)],
)
def test_an_average_goes_on_with_the_same_decay_and_else_starts_from_the_weights(
    saved_with: dict | None, goes_on: bool
) -> None:
    """Checkpoints of earlier versions do not name the decay."""
    network = small_network()
    saved = ExponentialAverage(network, 0.9)
    shake(network)
    saved.update()
    state = saved.state_dict()
    del state["decay"]
    resumed = ExponentialAverage(network, 0.9)
    shake(network)
    resumed.resume(None if saved_with is None else {**state, **saved_with})
    expected = averaged(saved, network) if goes_on else content(network)
    assert same(averaged(resumed, network), expected)
    assert resumed.num_updates == (1 if goes_on else 0)


def test_the_average_of_another_network_is_refused_by_name() -> None:
    average = ExponentialAverage(nn.Linear(3, 2), 0.9)
    other = ExponentialAverage(nn.Linear(4, 2), 0.9)
    with pytest.raises(CheckpointError, match=r"weight: \(2, 4\) -> \(2, 3\)"):
        average.load_state_dict(other.state_dict())


def test_a_compiled_module_has_the_names_of_the_plain_one() -> None:
    network = small_network()
    average = ExponentialAverage(torch.compile(network), 0.5)
    assert average.state_dict()["averages"].keys() == network.state_dict().keys()
    shake(network)
    average.update()
    assert same(averaged(average, network), average.state_dict()["averages"])


@pytest.mark.parametrize("decay", [1.0, -0.1, float("nan")])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match=r"such as 0\.999"):
        ExponentialAverage(nn.Linear(1, 1), decay)


def test_all_tensors_are_updated_by_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(*(nn.Linear(2, 2) for _ in range(50)))
    average = ExponentialAverage(network, 0.999)
    calls, lerp = [], torch._foreach_lerp_

    def count(averages: list[torch.Tensor], *others: object) -> None:
        calls.append(len(averages))
        lerp(averages, *others)

    monkeypatch.setattr(torch, "_foreach_lerp_", count)
    average.update()
    assert calls == [100]


# ---- model folders --------------------------------------------------------------------------


def make_folder(config: dict, path: Path, seed: int) -> Path:
    """An untrained model with statistics of its own."""
    torch.manual_seed(seed)
    model = SpeakerModel.from_config(load_config(config))
    model.train()
    with torch.no_grad():
        for _ in range(1 + seed):
            model(0.1 * torch.randn(4, 16000))
    save_model_folder(
        path,
        model.eval(),
        provenance={"epochs": seed, "licence": "CC-BY"},
        calibration={"threshold_eer": 0.5},
        metrics={"eer": 0.1},
        training_config=config,
    )
    return path


@pytest.fixture
def folders(small_config: dict, tmp_path: Path) -> list[Path]:
    return [make_folder(small_config, tmp_path / f"model_{seed}", seed) for seed in range(3)]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_model_folder(folder)[0].backbone.state_dict()


def test_the_mean_of_model_folders_is_that_of_their_weights(
    folders: list[Path], tmp_path: Path
) -> None:
    fingerprint = average_model_folders(folders, tmp_path / "mean")
    states = [weights(folder) for folder in folders]
    for name, value in weights(tmp_path / "mean").items():
        if value.is_floating_point():
            expected = sum(state[name].double() for state in states) / 3
            torch.testing.assert_close(value, expected.float(), rtol=0, atol=0)
        else:
            assert torch.equal(value, states[0][name])
    assert load_model_folder(tmp_path / "mean")[1].fingerprint == fingerprint


def test_the_mean_names_its_sources_and_has_no_thresholds(
    folders: list[Path], tmp_path: Path
) -> None:
    average_model_folders(folders, tmp_path / "mean")
    info = load_model_folder(tmp_path / "mean")[1]
    assert info.calibration is None
    assert info.metrics == {}
    sources = info.provenance["mean_of"]
    assert [source["folder"] for source in sources] == [str(folder) for folder in folders]
    fingerprints = [load_model_folder(folder)[1].fingerprint for folder in folders]
    assert [source["fingerprint"] for source in sources] == fingerprints
    assert [source["provenance"]["licence"] for source in sources] == ["CC-BY"] * 3
    assert info.provenance["batch_norm"] == "averaged"
    saved = (folders[0] / "config.yml").read_text()
    assert (tmp_path / "mean" / "config.yml").read_text() == saved


def test_models_that_differ_are_refused_with_what_differs(
    folders: list[Path], small_config: dict, tmp_path: Path
) -> None:
    small_config["model_conf"]["backbone"]["embd_dim"] = 16
    small_config["preprocess_conf"]["method_args"]["num_mel_bins"] = 20
    other = make_folder(small_config, tmp_path / "other", 0)
    with pytest.raises(CheckpointError) as caught:
        average_model_folders([folders[0], other], tmp_path / "mean")
    assert "backbone.embd_dim: 32 -> 16" in str(caught.value)
    assert "front_end.preprocess.method_args.num_mel_bins: 40 -> 20" in str(caught.value)
    assert str(other) in str(caught.value)
    assert not (tmp_path / "mean").exists()


def test_what_has_no_mean_is_refused(folders: list[Path], tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="two model folders or more"):
        average_model_folders(folders[:1], tmp_path / "mean")
    with pytest.raises(CheckpointError, match="is one of the models to average"):
        average_model_folders(folders, folders[1])
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="is not a model folder; give a new name"):
        average_model_folders(folders, tmp_path / "notes")
    with pytest.raises(CheckpointError, match="nowhere' does not exist"):
        average_model_folders([folders[0], tmp_path / "nowhere"], tmp_path / "mean")
    model = load_model_folder(folders[1])[0]
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    save_model_folder(folders[1], model)
    with pytest.raises(CheckpointError, match=r"model_1' has weights that are not finite"):
        average_model_folders(folders, tmp_path / "mean")


def test_a_model_that_is_counted_twice_is_told(
    folders: list[Path],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    shutil.copytree(folders[0], tmp_path / "copy")
    average_model_folders([folders[0], folders[1], tmp_path / "copy"], tmp_path / "mean")
    assert "model_0' and '" in caplog.text
    assert "copy' are the same model, counted twice" in caplog.text


def test_batch_norm_is_measured_as_torch_does() -> None:
    network = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.BatchNorm1d(4))
    reference = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.BatchNorm1d(4))
    reference.load_state_dict(network.state_dict())
    batches = [torch.randn(8, 5) for _ in range(5)]
    assert recompute_batch_norm(network, batches) == 5
    update_bn(batches, reference)
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=1e-6, atol=1e-6)
    assert network[1].momentum == 0.1
    assert not network[1].training


def test_without_a_batch_the_statistics_stay() -> None:
    network = small_network()
    shake(network)
    before = content(network)
    assert recompute_batch_norm(network, []) == 0
    assert same(content(network), before)


def test_the_command_measures_batch_norm_on_the_clips_of_a_list(
    folders: list[Path], lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    clips = read_list(lists / "train_list.txt")
    entries = list(zip(clips.paths, clips.labels.tolist(), strict=True))
    write_list(tmp_path / "list.txt", [*entries, (str(tmp_path / "gone.wav"), 0)])
    arguments = [*map(str, folders), "--output", str(tmp_path / "mean"), "--use_gpu", "False"]
    arguments += ["--recompute_bn", str(tmp_path / "list.txt"), "--duration", "1"]
    assert run_script("average_checkpoints", arguments) == 0
    found = load_model_folder(tmp_path / "mean")[0]
    used = f"recomputed on 64 clips of {tmp_path / 'list.txt'}"
    described = yaml.safe_load((tmp_path / "mean" / "model.yml").read_text())
    assert described["provenance"]["batch_norm"] == used
    assert "1 clips could not be used" in capsys.readouterr().out

    average_model_folders(folders, tmp_path / "plain")
    plain = load_model_folder(tmp_path / "plain")[0]
    sums, first = [], next(m for m in plain.modules() if isinstance(m, nn.BatchNorm1d))
    first.register_forward_pre_hook(lambda module, inputs: sums.append(inputs[0]))
    crops = [plain.front_end.read_clip(path)[:16000] for path in clips.paths]
    plain.eval()(torch.stack([torch.from_numpy(crop) for crop in crops]))
    expected = sums[0].double().mean(dim=0)  # a row for each frame of each clip
    name = next(name for name, m in plain.named_modules() if m is first)
    mean = found.get_submodule(name).running_mean
    torch.testing.assert_close(mean.double(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(first.running_mean, mean, atol=1e-3)


def test_a_list_of_too_few_clips_is_refused(
    folders: list[Path], lists: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = [*map(str, folders), "--output", str(tmp_path / "mean"), "--use_gpu", "False"]
    arguments += ["--recompute_bn", str(lists / "enroll_list.txt")]
    assert run_script("average_checkpoints", arguments) == 2
    assert "gave no batch of 32 clips" in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()


def test_help_teaches_by_example(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as caught:
        run_script("average_checkpoints", ["--help"])
    assert caught.value.code == 0
    assert "python tools/average_checkpoints.py " in capsys.readouterr().out
    script = (ROOT / "tools" / "average_checkpoints.py").read_text()
    assert 'run_script("average_checkpoints")' in script
