"""What mvector 1.x leaves behind, or its like: configurations, a checkpoint."""

from __future__ import annotations

import torch

from mvector.compat import SOURCES
from mvector.compat.source import Hints
from mvector.models.speaker_model import SpeakerModel

# As the training log of the 1.0 generation prints it: None is the word that it prints.
LOG_1_0 = """
dataset_conf:
  dataLoader: {batch_size: 64, num_workers: 4}
  do_vad: False
  enroll_list: dataset/enroll_list.txt
  eval_conf: {batch_size: 1, max_duration: 20}
  max_duration: 3
  min_duration: 0.5
  noise_aug_prob: 0.2
  noise_dir: dataset/noise
  num_speakers: 3242
  sample_rate: 16000
  speed_perturb: True
  target_dB: -20
  train_list: dataset/train_list.txt
  trials_list: dataset/trials_list.txt
  use_dB_normalization: True
loss_conf:
  args: {easy_margin: False, margin: 0.2, scale: 32}
  margin_scheduler_args: {final_margin: 0.3}
  use_loss: AAMLoss
  use_margin_scheduler: True
model_conf:
  backbone: {embd_dim: 192, pooling_type: ASP}
  classifier: {num_blocks: 0}
optimizer_conf:
  learning_rate: 0.001
  optimizer: Adam
  scheduler: CosineAnnealingLR
  scheduler_args: None
  weight_decay: 1e-06
preprocess_conf:
  feature_method: MelSpectrogram
  method_args: {f_max: 14000.0, f_min: 50.0, hop_length: 320, n_fft: 1024, n_mels: 64,
                sample_rate: 16000, win_length: 1024}
train_conf: {log_interval: 100, max_epoch: 30}
use_model: EcapaTdnn
"""

FILE_1_1 = """
dataset_conf:
  dataset: {min_duration: 0.3, max_duration: 3, sample_rate: 16000, use_dB_normalization: True,
            target_dB: -20}
  sampler: {batch_size: 128, drop_last: True}
  dataLoader: {num_workers: 8}
  eval_conf: {batch_size: 16, max_duration: 20}
  train_list: 'dataset/train_list.txt'
  enroll_list: 'dataset/cn-celeb-test/enroll_list.txt'
  trials_list: 'dataset/cn-celeb-test/trials_list.txt'
  is_use_pksampler: False
  sample_per_id: 4
preprocess_conf:
  use_hf_model: False
  feature_method: 'Fbank'
  method_args: {sample_frequency: 16000, num_mel_bins: 80}
model_conf:
  model: 'EcapaTdnn'
  model_args: {embd_dim: 192, pooling_type: 'ASP', channels: [512, 512, 512, 512, 1536]}
  classifier: {classifier_type: 'Cosine', num_speakers: 2796, num_blocks: 0}
loss_conf:
  loss: 'AAMLoss'
  loss_args: {margin: 0.2, scale: 32, easy_margin: False, label_smoothing: 0.0}
  use_margin_scheduler: True
  margin_scheduler_args: {initial_margin: 0.0, final_margin: 0.3}
optimizer_conf:
  optimizer: 'Adam'
  optimizer_args: {lr: 0.002, weight_decay: !!float 1e-5}
  scheduler: 'WarmupCosineSchedulerLR'
  scheduler_args: {min_lr: !!float 1e-5, max_lr: 0.001, warmup_epoch: 5}
train_conf: {enable_amp: False, use_compile: False, max_epoch: 60, log_interval: 100}
"""


def mvector_state(channels: int = 8, bins: int = 16) -> dict[str, torch.Tensor]:
    """An mvector 1.x TDNN with its classifier."""
    front_end = SOURCES["mvector"].front_end(bins, 16000, Hints())
    model = SpeakerModel(front_end, "TDNN", {"channels": channels, "embd_dim": 12})
    table = SOURCES["mvector"].families["mvector 1.x's TDNN"].table
    own = model.backbone.state_dict()
    state = {f"0.{theirs}": own[ours] for ours, (theirs, _) in table.published(own).items()}
    return {**state, "1.weight": torch.zeros(5, 12)}
