#!/bin/sh
# The model in the box from the corpora to its figures: sh benchmarks/train_default_model.sh DIR [DIR2]
# The folders are what benchmarks/default_model_data.py asks for; the figures are those of the first.
# Stopped, it goes on where it was.
set -eu
export PYTHONPATH=.
data=${1:?name the folder of the corpora}
clean=models/EcapaTdnn_Fbank
robust=models/robust/EcapaTdnn_Fbank

[ -f dataset/default_model/data.json ] || python benchmarks/default_model_data.py --data "$@"
[ -d "$robust" ] || python train.py --configs configs/default_model.yml --resume_model auto
torchrun --standalone --nproc_per_node=2 train.py --configs configs/default_model_robust.yml \
  --overrides dataset_conf.dataLoader.batch_size=32 \
  --pretrained_model "$clean/best_model" --save_model_path models/robust --resume_model auto
python tools/average_checkpoints.py "$clean/best_model" "$robust/last_model" --output models/default
python benchmarks/default_model.py --data "$data" --publish models/default
