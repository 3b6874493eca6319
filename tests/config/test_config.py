"""A configuration is read, translated and validated before anything is built."""

from __future__ import annotations

import copy
import inspect
import math
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml
from mvector_1 import FILE_1_1, LOG_1_0
from small_settings import ROOT, SMALL_CONFIG, changed_config

from mvector import load_config
from mvector.config import Config, ConfigError, config_to_dict, load_augment_config
from mvector.config.backbone_options import BACKBONE_OPTIONS, Pooling
from mvector.config.feature_options import FEATURE_ARGS, MelSpectrogramArgs
from mvector.config.load import count_empty_mel_bands
from mvector.config.options import LOSS_ARGS
from mvector.features import FEATURE_METHODS, build_featurizer
from mvector.losses import LOSSES
from mvector.models import BACKBONES
from mvector.models.pooling import POOLINGS

CONFIGS = sorted((ROOT / "configs").glob("*.yml"))


def changed(**changes: Any) -> dict[str, Any]:
    """The small configuration with keys changed, in which ``__`` stands for the dots."""
    return changed_config({key.replace("__", "."): value for key, value in changes.items()})


def mistakes_of(config: dict[str, Any] | Path) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(config)
    return str(caught.value)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_file_is_valid(path: Path) -> None:
    if path.name == "augmentation.yml":
        assert load_augment_config(path).spec_aug.prob > 0
    else:
        assert load_config(path).use_model in BACKBONES


def test_shipped_files_drop_digital_silence_and_older_files_do_not() -> None:
    for path in CONFIGS:
        assert path.name == "augmentation.yml" or load_config(path).dataset_conf.drop_silence
    assert not load_config(changed()).dataset_conf.drop_silence


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_setting_of_a_shipped_file_is_explained_by_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    num_settings = sum(":" in line.split("#")[0] for line in lines)
    num_comments = sum("#" in line for line in lines)
    assert num_comments >= 0.5 * num_settings


def test_the_log_of_generation_1_0_is_accepted_as_it_is() -> None:
    config = load_config(yaml.safe_load(LOG_1_0))
    assert config.dataset_conf.num_speakers == 3242
    assert config.optimizer_conf.weight_decay == 1e-6
    assert config.augment_conf.noise.prob == 0.2
    assert config.augment_conf.noise.noise_dir == "dataset/noise"
    assert config.augment_conf.speed.prob == 1.0
    assert config.loss_conf.margin_scheduler_args.final_margin == 0.3


def test_the_files_of_generation_1_1_are_accepted_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(FILE_1_1)
    config = load_config(path)
    assert config.use_model == "EcapaTdnn"
    assert config.dataset_conf.dataLoader.batch_size == 128
    assert config.dataset_conf.dataLoader.num_workers == 8
    assert config.dataset_conf.min_duration == 0.3
    assert config.dataset_conf.num_speakers == 2796
    assert config.loss_conf.use_loss == "AAMLoss"
    assert config.optimizer_conf.learning_rate == 0.002
    assert config.optimizer_conf.weight_decay == 1e-5
    assert config.optimizer_conf.scheduler_args.max_lr == 0.001  # type: ignore[union-attr]


def test_exponents_and_the_word_none_mean_what_people_mean(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    path.write_text(LOG_1_0.replace("learning_rate: 0.001", "learning_rate: 1e-3"))
    config = load_config(path)
    assert config.optimizer_conf.learning_rate == 0.001
    assert config.optimizer_conf.scheduler_args.T_max is None  # type: ignore[union-attr]


@pytest.mark.parametrize("text", [LOG_1_0, FILE_1_1])
def test_a_resolved_configuration_reads_back_unchanged(text: str) -> None:
    config = load_config(yaml.safe_load(text))
    resolved = yaml.safe_load(yaml.safe_dump(config_to_dict(config)))
    assert load_config(resolved) == config


def test_a_configuration_cannot_be_changed_after_loading() -> None:
    config = load_config(SMALL_CONFIG)
    with pytest.raises(ValueError, match="frozen"):
        config.train_conf.max_epoch = 5  # type: ignore[misc]


@pytest.mark.parametrize(("said", "heard_s"), [("null", None), ("20", 20.0), (".inf", math.inf)])
def test_how_much_an_evaluation_hears_is_a_choice(said: str, heard_s: float | None) -> None:
    assert load_config(SMALL_CONFIG).dataset_conf.eval_conf.max_duration is None
    config = load_config(SMALL_CONFIG, [f"dataset_conf.eval_conf.max_duration={said}"])
    assert config.dataset_conf.eval_conf.max_duration == heard_s
    assert load_config(config_to_dict(config)) == config
    with pytest.raises(ConfigError, match=r"longer than eval_conf\.max_duration 0\.2 s"):
        load_config(SMALL_CONFIG, ["dataset_conf.eval_conf.max_duration=0.2"])


def test_overrides_win_over_the_file() -> None:
    config = load_config(SMALL_CONFIG, ["train_conf.max_epoch=7", "optimizer_conf.scheduler=None"])
    assert config.train_conf.max_epoch == 7
    assert config.optimizer_conf.scheduler is None


def test_all_mistakes_are_told_at_once_each_with_key_value_and_cure(tmp_path: Path) -> None:
    config = changed(
        dataset_conf__dataLoder={"num_workers": 1},
        preprocess_conf__method_args__num_mel_bin=3,
        train_conf__max_epoch="many",
        optimizer_conf__learning_rate=-1,
        loss_conf__use_loss="AAM",
    )
    path = tmp_path / "mine.yml"
    path.write_text(yaml.safe_dump(config))
    told = mistakes_of(path)
    assert "mine.yml has 5 mistakes" in told
    assert "dataset_conf.dataLoder: unknown key" in told
    assert "did you mean 'dataLoader'?" in told
    assert "did you mean 'num_mel_bins'?" in told
    assert "train_conf.max_epoch: 'many' is not valid; expected a whole number" in told
    assert "optimizer_conf.learning_rate: -1 is not valid; must be greater than 0" in told
    assert "'AAM' is not allowed; allowed: 'AAMLoss'" in told
    assert "did you mean 'AAMLoss'?" in told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"use_model": "ecapatdn"}, ["use_model", "did you mean 'EcapaTdnn'?"]),
        ({"train_conf__log_interval": True}, ["train_conf.log_interval", "a whole number"]),
        ({"train_conf__max_epoch": 2.5}, ["train_conf.max_epoch: 2.5", "a whole number"]),
        ({"dataset_conf__use_dB_normalization": "maybe"}, ["True or False"]),
        (
            {"dataset_conf__dataLoader": {"num_workers": 100_000}},
            ["num_workers: 100000 is not valid", "1024"],
        ),
        ({"dataset_conf": None}, ["dataset_conf", "section of 'key: value' lines"]),
        ({"dataset_conf__train_list": None}, ["dataset_conf.train_list"]),
        (
            {"dataset_conf__min_crop_duration": 9},
            ["min_crop_duration 9 s is longer than max_duration"],
        ),
        (
            {"dataset_conf__min_crop_duration": 1, "dataset_conf__batch_sampler": "duration"},
            ["min_crop_duration does not go with batch_sampler 'duration'"],
        ),
        ({"dataset_conf__min_duration": 9}, ["min_duration 9 s is longer than max_duration"]),
        ({"model_conf__backbone__channels": 30}, ["not a multiple of res2net_scale"]),
        ({"model_conf__backbone__channels": [1, 2]}, ["model_conf.backbone", "five"]),
        ({"optimizer_conf__scheduler_args": {"min_lr": 0.1}}, ["scheduler_args"]),
        ({"loss_conf__args__margin": float("nan")}, ["loss_conf.args.margin", "finite"]),
        ({"preprocess_conf__use_hf_model": True}, ["use_hf_model", "set it to False"]),
        (
            {"dataset_conf__is_use_pksampler": True, "dataset_conf__sample_per_id": 3},
            ["batch_size 8, which is not a multiple of sample_per_id 3"],
        ),
        (
            {"loss_conf": {"use_loss": "TripletAngularMarginLoss"}},
            ["set dataset_conf.batch_sampler to speakers"],
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_key(changes: dict[str, Any], words: list[str]) -> None:
    told = mistakes_of(changed(**changes))
    for word in words:
        assert word in told


def test_a_missing_key_is_named_with_an_example() -> None:
    config = copy.deepcopy(SMALL_CONFIG)
    del config["preprocess_conf"]["feature_method"]
    told = mistakes_of(config)
    assert "preprocess_conf.feature_method is missing; add it" in told
    assert "feature_method: Fbank" in told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {
                "loss_conf__use_loss": "CELoss",
                "loss_conf__args": {},
                "loss_conf__use_margin_scheduler": True,
            },
            "use_margin_scheduler True does not go with CELoss",
        ),
        (
            {"model_conf__classifier": {"classifier_type": "Linear"}},
            "Linear does not go with AAMLoss",
        ),
        (
            {"preprocess_conf__log_spectrum": True},
            "log_spectrum True does not go with Fbank",
        ),
        (
            {"preprocess_conf__method_args__sample_frequency": 8000},
            "8000 contradicts dataset_conf.sample_rate 16000",
        ),
        ({"loss_conf__loss": "AAMLoss"}, "the same setting is given again as loss_conf.use_loss"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], words: str) -> None:
    assert words in mistakes_of(changed(**changes))


def test_a_rate_written_as_text_is_compared_too() -> None:
    config = changed(
        dataset_conf__sample_rate="8000", preprocess_conf__method_args__sample_frequency="16000"
    )
    assert "16000 contradicts dataset_conf.sample_rate 8000" in mistakes_of(config)


def test_yaml_anchors_can_be_merged(tmp_path: Path) -> None:
    path = tmp_path / "config.yml"
    text = LOG_1_0.replace("train_conf: {", "train_conf: {<<: &base {seed: 5}, ")
    path.write_text(text)
    assert load_config(path).train_conf.seed == 5


def test_the_front_end_takes_the_rate_of_the_clips() -> None:
    config = load_config(changed(dataset_conf__sample_rate=8000))
    assert config.preprocess_conf.method_args.sample_frequency == 8000  # type: ignore[attr-defined]


def test_f_max_above_nyquist_warns_with_the_number_of_empty_bands(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load_config(yaml.safe_load(LOG_1_0))
    assert "f_max 14000 Hz is above the Nyquist frequency 8000 Hz" in caplog.text
    featurizer = build_featurizer(config.preprocess_conf)
    loud = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    args = {**config_to_dict(config)["preprocess_conf"], "normalize_mean": False}
    features, _ = build_featurizer(args)(loud)
    num_empty = int((features.amax(dim=(0, 1)) == 0).sum())
    assert f"{num_empty} of {featurizer.feature_dim} mel bands are empty" in caplog.text


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_empty_bands_are_counted_as_the_filterbank_has_them(scale: str) -> None:
    args = {"n_fft": 256, "n_mels": 128, "mel_scale": scale}
    featurizer = build_featurizer(
        {"feature_method": "MelSpectrogram", "method_args": args, "normalize_mean": False}
    )
    features, _ = featurizer(torch.randn(1, 16000, generator=torch.Generator().manual_seed(0)))
    num_empty = int((features.amax(dim=(0, 1)) == 0).sum())
    assert num_empty > 0
    assert count_empty_mel_bands(MelSpectrogramArgs(**args)) == num_empty


def test_yaml_mistakes_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yml"
    path.write_text("use_model: EcapaTdnn\ntrain_conf: {max_epoch: 3\n")
    assert "broken.yml, line" in mistakes_of(path)
    path.write_text("use_model: EcapaTdnn\nuse_model: EcapaTdnn\n")
    assert "line 2, column 1" in mistakes_of(path)
    assert "stands twice" in mistakes_of(path)
    path.write_text("just text")
    assert "no 'key: value' sections" in mistakes_of(path)
    assert "does not exist" in mistakes_of(tmp_path / "nowhere.yml")


def test_an_unknown_key_of_the_augmentation_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"noise.max_snr: unknown key .* 'max_snr_dB'"):
        load_augment_config({"noise": {"max_snr": 3}})


@pytest.mark.parametrize(
    ("table", "classes"),
    [
        (FEATURE_ARGS, FEATURE_METHODS),
        (BACKBONE_OPTIONS, BACKBONES),
        (LOSS_ARGS, LOSSES),
    ],
)
def test_options_equal_the_keyword_arguments_they_configure(
    table: dict[str, Any], classes: dict[str, Any]
) -> None:
    assert set(table) == set(classes)
    for name, section in table.items():
        signature = inspect.signature(classes[name]).parameters
        arguments = {
            key: parameter.default
            for key, parameter in signature.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        fields = {key: field.get_default() for key, field in section.model_fields.items()}
        assert set(fields) == set(arguments), name
        for key, default in arguments.items():
            if key != "melkwargs":
                assert fields[key] == default, f"{name}.{key}"


def test_poolings_can_be_chosen_by_all_their_names() -> None:
    assert get_args(Pooling) == tuple(POOLINGS)


@pytest.mark.parametrize("name", LOSSES)
def test_the_configuration_knows_what_a_loss_is_given(name: str) -> None:
    args, loss = LOSS_ARGS[name], LOSSES[name]
    assert args.classifier_type == loss.classifier_type
    assert args.needs_embeddings == loss.needs_embeddings


def test_the_configuration_knows_the_classifier_that_fits_the_loss() -> None:
    assert load_config(SMALL_CONFIG).classifier_type == "Cosine"
    plain = changed(loss_conf={"use_loss": "CELoss"})
    assert load_config(plain).classifier_type == "Linear"
    assert isinstance(load_config(plain), Config)


def test_aliases_of_aliases_are_refused_and_not_written_out(tmp_path: Path) -> None:
    file = tmp_path / "laughs.yml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=r"laughs\.yml is not valid YAML: its aliases stand for"):
        load_config(file)
