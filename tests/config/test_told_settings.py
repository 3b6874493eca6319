"""What a run tells of its configuration."""

from __future__ import annotations

import logging

import pytest
from small_settings import ROOT

from mvector.config import load_config, log_config
from mvector.config.load import changed_settings


def test_settings_that_differ_from_the_defaults_are_told() -> None:
    config = load_config(
        {
            "use_model": "EcapaTdnn",
            "dataset_conf": {"train_list": "l.txt", "max_duration": 3.0, "dataLoader": {}},
            "preprocess_conf": {"feature_method": "Fbank", "method_args": {"num_mel_bins": 80}},
            "model_conf": {"backbone": {"embd_dim": 64, "channels": 512}},
            "loss_conf": {"use_loss": "AAMLoss", "args": {"margin": 0.3, "scale": 32}},
            "train_conf": {"max_epoch": 30, "ema_decay": 0.9},
            "augment_conf": {"noise": {"prob": 0.25, "noise_dir": "n"}},
        }
    )
    assert changed_settings(config) == {
        "use_model": "EcapaTdnn",
        "dataset_conf.train_list": "l.txt",
        "preprocess_conf.feature_method": "Fbank",
        "preprocess_conf.method_args.num_mel_bins": 80,
        "model_conf.backbone.embd_dim": 64,
        "loss_conf.use_loss": "AAMLoss",
        "loss_conf.args.margin": 0.3,
        "train_conf.max_epoch": 30,
        "train_conf.ema_decay": 0.9,
        "augment_conf.noise.prob": 0.25,
        "augment_conf.noise.noise_dir": "n",
    }


def test_a_shipped_configuration_tells_few_lines_and_all_when_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = load_config(ROOT / "configs" / "ecapa_tdnn.yml")
    with caplog.at_level(logging.INFO, logger="mvector"):
        log_config(config)
    short = caplog.messages
    assert "  train_conf.max_epoch: 30" in short
    assert len(short) < 20
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="mvector"):
        log_config(config)
    assert "    max_epoch: 30" in caplog.messages
    assert "    seed: 1000" in caplog.messages
