"""What is given and would change nothing, or contradicts something else, is refused at once."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from small_settings import SMALL_CONFIG, changed_config

from mvector import MVectorTrainer, load_config
from mvector.config import Config, ConfigError, config_to_dict
from mvector.config.conditions import _NEEDS
from mvector.training.model_evaluation import check_epoch_evaluation

TRIPLET = {"use_loss": "TripletAngularMarginLoss"}
SPEAKERS = {"dataset_conf.batch_sampler": "speakers"}

# settings -> what they lack
WITHOUT_EFFECT: list[tuple[dict[str, Any], str]] = [
    ({"dataset_conf.sample_per_id": 2}, "dataset_conf.batch_sampler speakers"),
    ({"dataset_conf.batch_duration": 60}, "dataset_conf.batch_sampler duration"),
    ({**SPEAKERS, "dataset_conf.dataLoader.drop_last": False}, "batch_sampler random or balanced"),
    ({"dataset_conf.vad_method": "silero"}, "dataset_conf.do_vad True"),
    ({"dataset_conf.domain_batches": False}, "a dataset_conf.domains"),
    (
        {"dataset_conf.target_dB": -30, "dataset_conf.use_dB_normalization": False},
        "dataset_conf.use_dB_normalization True",
    ),
    (
        {"model_conf.backbone.attention_channels": 64, "model_conf.backbone.pooling_type": "TSTP"},
        "a pooling_type of SAP, ASP, MHASTP, MQMHASTP",
    ),
    (
        {"model_conf.backbone.attention_norm": True, "model_conf.backbone.pooling_type": "SAP"},
        "pooling_type ASP",
    ),
    (
        {"use_model": "TDNN", "model_conf.backbone": {"pooling_eps": 1e-8}},
        "pooling_type TSTP",
    ),
    (
        {"loss_conf": TRIPLET, **SPEAKERS, "model_conf.classifier.num_blocks": 1},
        "a loss that has a classifier",
    ),
    ({"model_conf.classifier.inter_dim": 64}, "model_conf.classifier.num_blocks above 0"),
    (
        {"loss_conf.margin_scheduler_args.final_margin": 0.2},
        "loss_conf.use_margin_scheduler True",
    ),
    (
        {"loss_conf": {**TRIPLET, "args": {"add_absolute": False, "ap_value": 0.9}}, **SPEAKERS},
        "loss_conf.args.add_absolute True",
    ),
    (
        {"loss_conf": {"use_loss": "SubCenterLoss", "args": {"mp": 0.1}}},
        "loss_conf.args.k_top above 0",
    ),
    ({"loss_conf.teacher_weight": 5.0}, "a loss_conf.teacher"),
    ({"loss_conf.label_weight": 0}, "a loss_conf.teacher"),
    ({"optimizer_conf.momentum": 0.8}, "optimizer_conf.optimizer SGD"),
    ({"optimizer_conf.decay_norm_and_bias": False}, "optimizer_conf.weight_decay above 0"),
    ({"train_conf.amp_dtype": "bfloat16"}, "train_conf.enable_amp True"),
    ({"train_conf.classifier_sample_rate": 0.5}, "train_conf.classifier_sharding True"),
    (
        {"loss_conf": {"use_loss": "CELoss"}, "train_conf.classifier_from_means": True},
        "a loss whose classifier gives cosines",
    ),
    ({"augment_conf.speed.speed_perturb_3_class": True}, "augment_conf.speed.prob above 0"),
    (
        {"augment_conf.reverb": {"prob": 0.5, "reverb_dir": "rir", "num_rooms": 5}},
        "augment_conf.reverb.simulate True",
    ),
    (
        {"augment_conf.silence": {"prob": 0.5, "zero_share": 1, "min_floor_dB": -80}},
        "augment_conf.silence.zero_share below 1",
    ),
    (
        {"augment_conf.codec": {"prob": 0.5, "max_cutoff_hz": 6000}},
        "augment_conf.codec.low_pass above 0",
    ),
    (
        {"augment_conf.codec": {"prob": 0.5, "min_mp3_kbps": 24}},
        "augment_conf.codec.mp3 above 0",
    ),
    (
        {"augment_conf.codec": {"prob": 0.5, "min_opus_kbps": 24}},
        "augment_conf.codec.opus above 0",
    ),
    (
        {"augment_conf.codec": {"prob": 0.5, "min_aac_kbps": 24}},
        "augment_conf.codec.aac above 0",
    ),
]

CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {
            "loss_conf.teacher": "teacher.npz",
            "augment_conf.speed": {"prob": 1.0, "speed_perturb_3_class": True},
        },
        "loss_conf.teacher does not go with augment_conf.speed.speed_perturb_3_class True",
    ),
    (
        {"loss_conf.teacher": "teacher.npz", "train_conf.classifier_sharding": True},
        "loss_conf.teacher does not go with train_conf.classifier_sharding True",
    ),
    (
        {
            "loss_conf.teacher": "teacher.npz",
            "loss_conf.label_weight": 0,
            "train_conf.freeze_backbone_epochs": 1,
        },
        "loss_conf.label_weight 0 does not go with train_conf.freeze_backbone_epochs 1",
    ),
    (
        {"dataset_conf.speed_perturb": False, "augment_conf.speed.prob": 1},
        "dataset_conf.speed_perturb: False contradicts augment_conf.speed.prob 1; keep one",
    ),
    (
        {"dataset_conf.speed_perturb": True, "augment_conf.speed.prob": 0},
        "dataset_conf.speed_perturb: True contradicts augment_conf.speed.prob 0; keep one",
    ),
    (
        {"dataset_conf.is_use_pksampler": True, "dataset_conf.batch_sampler": "random"},
        "is_use_pksampler: True contradicts dataset_conf.batch_sampler random; keep one",
    ),
    (
        {"dataset_conf.is_use_pksampler": False, "dataset_conf.batch_sampler": "speakers"},
        "is_use_pksampler: False contradicts dataset_conf.batch_sampler speakers; keep one",
    ),
    (
        {"optimizer_conf.scheduler": "WarmupCosineSchedulerLR"},
        "warmup_epoch 5 is longer than the run of train_conf.max_epoch 2; lower it",
    ),
    (
        {"train_conf.freeze_backbone_epochs": 3},
        "freeze_backbone_epochs 3 is longer than the run of train_conf.max_epoch 2; lower it",
    ),
    (
        {
            "loss_conf.use_margin_scheduler": True,
            "loss_conf.margin_scheduler_args.initial_margin": 0.5,
        },
        "initial_margin 0.5 is above final_margin 0.3, and the margin grows; lower it",
    ),
    (
        {"train_conf.classifier_from_means": True, "model_conf.classifier.num_blocks": 1},
        "classifier_from_means True does not go with model_conf.classifier.num_blocks above 0",
    ),
    (
        {"train_conf.classifier_from_means": True, "train_conf.classifier_sharding": True},
        "classifier_from_means True does not go with train_conf.classifier_sharding True",
    ),
    (
        {"dataset_conf.domains": "domains.txt", "train_conf.classifier_sharding": True},
        "classifier_sharding True does not go with dataset_conf.domains, whose softmax is small",
    ),
    ({"augment_conf.copies.prob": 1}, "copies.prob 1 has nothing to take; give folders or set"),
    ({"augment_conf.noise.prob": 1}, "noise.prob 1 has nothing to take; give noise_dir or set"),
    ({"augment_conf.babble.prob": 1}, "babble.prob 1 has nothing to take; give babble_dir or set"),
    (
        {"augment_conf.reverb.prob": 1},
        "reverb.prob 1 has nothing to take; give reverb_dir, simulate: True or set prob to 0",
    ),
]


def mistakes_of(changes: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(changed_config(changes))
    return str(caught.value)


@pytest.mark.parametrize(("changes", "lacking"), WITHOUT_EFFECT, ids=lambda value: str(value)[:40])
def test_what_would_change_nothing_is_refused(changes: dict[str, Any], lacking: str) -> None:
    told = mistakes_of(changes)
    assert "has an effect only with" in told
    assert f"{lacking}; set that, or leave the key out" in told


def test_every_condition_has_its_case() -> None:
    for *_, words in _NEEDS:
        assert any(words.endswith(lacking) for _, lacking in WITHOUT_EFFECT), words


@pytest.mark.parametrize(("changes", "words"), CONTRADICTIONS, ids=lambda value: str(value)[:40])
def test_what_contradicts_another_setting_is_refused(changes: dict[str, Any], words: str) -> None:
    assert words in mistakes_of(changes)


def test_values_that_are_the_default_are_not_given(small_config: dict) -> None:
    """Or a resolved configuration, in which every key stands, could not be read."""
    resolved = config_to_dict(load_config(SMALL_CONFIG))
    assert resolved["optimizer_conf"]["momentum"] == 0.9  # beside Adam
    assert load_config(resolved) == load_config(SMALL_CONFIG)


def test_contradictions_are_told_together_and_beside_other_mistakes() -> None:
    told = mistakes_of(
        {
            "optimizer_conf.momentum": 0.5,
            "train_conf.amp_dtype": "float16",
            "augment_conf.noise.prob": 0.3,
            "train_conf.log_interval": "often",
            "dataset_conf.batch_smapler": "random",
        }
    )
    assert "has 5 mistakes" in told
    for key in ("momentum 0.5", "amp_dtype float16", "noise.prob 0.3", "'often'", "batch_smapler"):
        assert key in told


def test_a_setting_of_the_command_line_wins_over_an_older_key_of_the_file() -> None:
    older = changed_config(
        {
            "dataset_conf.is_use_pksampler": False,
            "dataset_conf.sample_per_id": 4,
            "optimizer_conf": {"optimizer_args": {"lr": 0.5}},
        }
    )
    config = load_config(
        older, ["dataset_conf.batch_sampler=speakers", "optimizer_conf.learning_rate=0.25"]
    )
    assert config.dataset_conf.batch_sampler == "speakers"
    assert config.optimizer_conf.learning_rate == 0.25


@pytest.mark.parametrize(
    "pair",
    [
        ("dataset_conf.is_use_pksampler=True", "dataset_conf.batch_sampler=random"),
        ("augment_conf.speed.prob=1", "dataset_conf.speed_perturb=False"),
        ("optimizer_conf.learning_rate=0.25", "optimizer_conf.optimizer_args.lr=0.5"),
    ],
)
def test_two_settings_of_the_command_line_that_contradict_each_other_are_refused(
    pair: tuple[str, str],
) -> None:
    config = copy.deepcopy(SMALL_CONFIG)
    with pytest.raises(ConfigError, match="keep one"):
        load_config(config, pair)
    load_config(config, pair[:1])


def test_a_volume_that_is_levelled_again_is_told(caplog: pytest.LogCaptureFixture) -> None:
    load_config(
        changed_config({"augment_conf.volume.prob": 0.5, "dataset_conf.use_dB_normalization": 0})
    )
    assert not caplog.text
    load_config(changed_config({"augment_conf.volume.prob": 0.5}))
    assert "augment_conf.volume changes little or nothing" in caplog.text


@pytest.mark.parametrize("missing", ["trials", "evaluation"])
def test_stopping_early_needs_an_evaluation(small_config: dict, missing: str) -> None:
    small_config["train_conf"]["early_stop_epochs"] = 2
    if missing == "trials":
        del small_config["dataset_conf"]["trials_list"]
    with pytest.raises(ConfigError, match=r"early_stop_epochs 2 needs an evaluation after each"):
        check_epoch_evaluation(load_config(small_config), do_eval=missing == "trials")


def test_the_key_of_the_older_files_is_named() -> None:
    config = changed_config({"optimizer_conf.optimizer_args": {"momentum": 0.5}})
    with pytest.raises(ConfigError, match=r"optimizer_conf\.optimizer_args\.momentum 0\.5 has"):
        load_config(config)


@pytest.mark.parametrize(
    ("given", "start", "end"),
    [
        ({}, 9.0, 21.0),
        ({"increase_start_epoch": 20}, 20.0, 21.0),
        ({"fix_epoch": 30}, 9.0, 30.0),
        ({"increase_start_epoch": 0, "fix_epoch": 2.5}, 0.0, 2.5),
    ],
)
def test_the_margin_grows_between_the_epochs_given_or_30_and_70_percent_of_the_run(
    given: dict[str, float], start: float, end: float
) -> None:
    config = load_config(scheduled(given))
    assert config.loss_conf.margin_scheduler_args.epochs(30) == pytest.approx((start, end))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"increase_start_epoch": 25}, "epoch 25 (increase_start_epoch, by default 30 %"),
        ({"fix_epoch": 5}, "to 5 (fix_epoch, by default 70 %) of 30"),
        ({"increase_start_epoch": 12, "fix_epoch": 12}, "to 12 (fix_epoch"),
        ({"fix_epoch": 31}, "within the run"),
    ],
)
def test_a_margin_that_would_jump_or_never_be_full_is_refused(
    given: dict[str, float], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(scheduled(given))
    assert words in str(caught.value)


def scheduled(given: dict[str, float]) -> dict[str, Any]:
    return changed_config(
        {
            "train_conf.max_epoch": 30,
            "loss_conf.use_margin_scheduler": True,
            "loss_conf.margin_scheduler_args": given,
        }
    )


def test_augmentation_given_apart_is_held_against_the_configuration() -> None:
    triplets = changed_config({"loss_conf": TRIPLET, **SPEAKERS})
    apart = {"speed": {"prob": 1.0, "speed_perturb_3_class": True}, "noise": {"prob": 0.5}}
    with pytest.raises(ConfigError) as caught:
        MVectorTrainer(triplets, use_gpu=False, data_augment_configs=apart)
    assert "does not go with augment_conf.speed.speed_perturb_3_class True" in str(caught.value)
    assert "noise.prob 0.5 has nothing to take" in str(caught.value)


@pytest.mark.parametrize("key", ["train_list", "enroll_list", "trials_list", "data_root"])
def test_an_empty_path_is_told_as_such(key: str) -> None:
    cure = "null for none" if key != "train_list" else "'train_list: dataset/train_list.txt'"
    told = mistakes_of({f"dataset_conf.{key}": ""})
    assert f"dataset_conf.{key} is empty; give a path" in told
    assert cure in told


def test_a_list_that_is_null_is_told_as_empty() -> None:
    assert "dataset_conf.train_list is empty; give a path" in mistakes_of(
        {"dataset_conf.train_list": None}
    )


def test_more_speakers_than_anybody_has_are_refused_as_such() -> None:
    told = mistakes_of({"dataset_conf.num_speakers": 10**12})
    assert "dataset_conf.num_speakers: 1000000000000 is not valid" in told
    assert "10000000" in told


def read(folder: Path, text: str) -> Config:
    import yaml

    small = yaml.safe_dump({k: v for k, v in SMALL_CONFIG.items() if k != "train_conf"})
    path = folder / "config.yml"
    path.write_text(f"{text}\n{small}")
    return load_config(path)


def test_a_key_at_the_top_may_hold_what_other_sections_share(tmp_path: Path) -> None:
    shared = "shared: &shared {max_epoch: 3, seed: 5}\ntrain_conf: {<<: *shared, seed: 6}"
    conf = read(tmp_path, shared).train_conf
    assert (conf.max_epoch, conf.seed) == (3, 6)
    inner = "defaults: {epochs: &epochs 4}\ntrain_conf: {max_epoch: *epochs}"
    assert read(tmp_path, inner).train_conf.max_epoch == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shared: &shared {seed: 5}\ntrain_conf: {max_epoch: 3}", "shared: unknown key"),
        (
            "augment_cnof: &a {seed: 5}\ntrain_conf: {<<: *a, max_epoch: 3}",
            "did you mean 'augment_conf'?",
        ),
    ],
    ids=["not referred to", "a slip of a known one"],
)
def test_any_other_key_at_the_top_is_unknown(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)
