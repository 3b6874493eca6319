"""Options know their command: what each action takes, what it refuses, and what is documented."""

from __future__ import annotations

import argparse
import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_settings import ROOT

from mvector.cli import ALIASES, COMMANDS, find_command, run_script
from mvector.cli.guesses import with_setting
from mvector.cli.options import (
    Action,
    Command,
    OptionError,
    Options,
    bind_options,
    build_parser,
    flag,
    option,
    parse_words,
    required,
    words_of_environment,
)

OF_PROGRAM = {find_command(name).prog: find_command(name) for name in COMMANDS}


def parsed(command: Command, words: list[str]) -> tuple[Action[Any], Any]:
    return bind_options(command, vars(build_parser(command).parse_args(words)))


# ---- the mechanism ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Shared(Options):
    TITLE = "where"

    folder: str = option("here", "a folder (default: %(default)s)", "DIR")


@dataclass(frozen=True, kw_only=True)
class Remove(Shared):
    remove: str = required("forget a person", "NAME")


@dataclass(frozen=True, kw_only=True)
class Show(Shared):
    long: bool = flag("print more")
    width: int = option(80, "of a line", "N", int)

    def conditions(self) -> tuple[tuple[str, bool, str], ...]:
        return (("width", self.long, "without --long"),)


PEOPLE = Command(
    "people.py",
    "Who is there.",
    "",
    (Action("--remove", Remove, lambda args: 0), Action("a list", Show, lambda args: 0)),
)


def test_a_command_line_becomes_the_options_of_the_action_that_it_asks_for() -> None:
    assert parsed(PEOPLE, [])[1] == Show(folder="here", long=False, width=80)
    action, options = parsed(PEOPLE, ["--folder", "there", "--remove", "Ada"])
    assert (action.name, options) == ("--remove", Remove(folder="there", remove="Ada"))


def test_clips_may_stand_between_options() -> None:
    parser = build_parser(find_command("contrast"))
    given = parse_words(parser, ["a.wav", "--threshold", "0.5", "b.wav"])
    assert given == {"clips": ["a.wav", "b.wav"], "threshold": 0.5}


def test_a_dash_in_the_name_of_an_option_is_an_underscore() -> None:
    parser = build_parser(find_command("contrast"))
    given = parse_words(parser, ["--audio-path1", "a-b.wav", "--audio-path2=c-d.wav"])
    assert given == {"audio_path1": "a-b.wav", "audio_path2": "c-d.wav"}


def test_behind_two_dashes_names_may_begin_with_one() -> None:
    contrast = build_parser(find_command("contrast"))
    assert parse_words(contrast, ["--", "-a", "--json"]) == {"clips": ["-a", "--json"]}
    recognition = build_parser(find_command("recognition"))
    assert parse_words(recognition, ["--register", "--", "-Ann", "x"]) == {
        "register": ["-Ann", "x"]
    }
    assert parse_words(recognition, ["--remove", "--", "-Ann"]) == {"remove": "-Ann"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_knows_where_a_stray_word_belongs(name: str) -> None:
    """Either words have a place, or an option stands for them; guesses name what there is."""
    command = find_command(name)
    actions = build_parser(command)._actions
    takes_words = any(not own.option_strings for own in actions)
    assert takes_words != (command.stray in {own.dest for own in actions})
    spellings = {spelling for own in actions for spelling in own.option_strings}
    assert {words.split()[0] for words in command.guesses.values()} <= spellings
    assert not {f"--{guess}" for guess in command.guesses} & spellings


def test_a_cure_that_is_a_setting_is_told_as_the_command_line_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    wrong = "Too much; lower dataset_conf.dataLoader.batch_size."
    assert with_setting(wrong) == (
        f"{wrong} On the command line: --set dataset_conf.dataLoader.batch_size=VALUE."
    )
    for said in ("c.yml: train_conf.seed: -1 is not valid.", "set train_conf.x (--set …)."):
        assert with_setting(said) == said
    monkeypatch.chdir(tmp_path)
    assert run_script("train", ["--set", "train_conf.seed=5"]) == 2
    assert capsys.readouterr().err.endswith(
        "The list 'dataset/trials_list.txt' does not exist; create it with create_data.py or "
        "correct its path.\n"
    )


def test_a_model_that_is_not_there_is_said_before_anything_else(
    capsys: pytest.CaptureFixture,
) -> None:
    assert run_script("eval", ["--model_path", "nope"]) == 2
    assert "The model folder 'nope' does not exist; " in capsys.readouterr().err


def test_the_version_is_an_option_of_every_command(capsys: pytest.CaptureFixture) -> None:
    from mvector import __version__

    with pytest.raises(SystemExit) as left:
        run_script("contrast", ["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"{__version__}\n"


def test_what_was_given_counts_even_where_it_equals_the_default() -> None:
    with pytest.raises(OptionError, match=r"^--width has no use without --long\.$"):
        parsed(PEOPLE, ["--width", "80"])
    assert parsed(PEOPLE, ["--width", "80", "--long"])[1].width == 80


def test_help_says_which_action_an_option_belongs_to() -> None:
    text = build_parser(PEOPLE).format_help()
    what, where, more = re.findall(r"^(\S.*):\n  --", text, re.MULTILINE)
    assert what == "what to do (without any of these: a list)"
    assert where == "where"
    assert more == "with a list"
    assert "a folder (default: here)" in text


# ---- what is refused ----------------------------------------------------------------------------

REFUSED = {
    "contrast": {
        "--list_devices --threshold 0.5": "--threshold has no use with --list_devices; it belongs "
        "to a comparison.",
        "--audio_path1 a --audio_path2 b --device 1": "--device has no use with two files.",
        "--audio_path1 a --audio_path2 b --record_seconds 3": "--record_seconds has no use with "
        "two files.",
        "--audio_path1 a --json": "--json has no use without two clips: it asks no questions.",
        "a --json": "--json has no use without two clips: it asks no questions.",
        "a b --device 1": "--device has no use with two files.",
        "a --audio_path2 b": "--audio_path2 has no use beside clips that are given by place.",
        "a b c": "Two clips are compared; 3 were given.",
        "a b --treshold 0.5": "There is no option --treshold; did you mean --threshold?",
        "a b --xyzzy": "There is no option --xyzzy; --help lists all.",
        "a b --threshold high": "Argument --threshold: invalid float value: 'high'; --help tells "
        "more.",
        "--model_path m --configs c": "--configs has no use beside --model_path, which names the "
        "model already.",
        "a b --purpose login --threshold 0.5": "--purpose has no use with --threshold, which "
        "decides by itself.",
    },
    "diarize": {
        "": "The following arguments are required: RECORDING; --help tells more.",
        "a --num_speakers 2 --max_speakers 3": "--max_speakers has no use beside --num_speakers, "
        "which says it all.",
        "a --num_speakers 0": "Argument --num_speakers: '0' is not a whole number from 1; --help "
        "tells more.",
        "a --json --register_unknown": "--json has no use with --register_unknown alone, which "
        "asks.",
        "a --within staff": "--within has no use without a speaker library: there is no audio_db/, "
        "and no --audio_db_path.",
        "a --register_unknown Ada": "'Ada' is no LABEL=NAME, such as 'Speaker 2=Ada'.",
    },
    "recognition": {
        "--identify a --purpose login --threshold 0.5": "--purpose has no use with --threshold, "
        "which decides by itself.",
        "--list --purpose login": "--purpose has no use with --list; it belongs to --identify, "
        "--watch and the menu.",
        "--list --within staff": "--within has no use with --list; it belongs to --identify, "
        "--watch and the menu.",
        "--within staff --list": "--within has no use with --list; it belongs to --identify, "
        "--watch and the menu.",
        "--register Ada --identify a.wav": "--register and --identify are two actions; give one of "
        "them.",
        "--list --list_devices": "--list and --list_devices are two actions; give one of them.",
        "--list --threshold 0.5": "--threshold has no use with --list; it belongs to --identify, "
        "--watch and the menu.",
        "--list --use_gpu False": "--use_gpu has no use without --model_path or --configs: no "
        "model is loaded.",
        "--identify a --engine onnx --use_gpu True": "--use_gpu has no use with --engine onnx, "
        "which computes on the CPU.",
        "--list_devices --model_path m": "--model_path has no use with --list_devices; it "
        "belongs to all but --audit and --list_devices.",
        "--register Ada a.wav --device 1": "--device has no use with files to --register.",
        "--register Ada a.wav --top_k 2": "--top_k has no use with --register; it belongs to "
        "--identify, --watch and the menu.",
        "--identify a.wav --record_seconds 3": "--record_seconds has no use with --identify; it "
        "belongs to --register, --watch and the menu.",
        "--identify a.wav --force": "--force has no use with --identify; it belongs to --register "
        "and the menu.",
        "--identify a.wav --hop_seconds 1": "--hop_seconds has no use with --identify; it belongs "
        "to --watch.",
        "--watch a.wav --device 1": "--device has no use with a file to --watch.",
        "--watch --channel 1": "--channel has no use with a microphone, which records one.",
        "--register Ada --channel 1": "--channel has no use with a recording, which has one.",
        "--watch --hop_seconds 1 --top_k 2": "--top_k has no use with --watch and without --json: "
        "a line names one person.",
        "--watch --record_seconds 2": "--record_seconds has no use with --watch and without "
        "--hop_seconds.",
        "--watch --json --top_k 2": "--top_k has no use with --watch and without --hop_seconds.",
        "--watch --within staff": "--within has no use without a speaker library: there is no "
        "audio_db/.",
        "--remove Ada --groups staff": "--groups has no use with --remove; it belongs to "
        "--register and the menu.",
        "--export f --no_audio": "--no_audio has no use with --export; it belongs to --register, "
        "--import and the menu.",
        "--import f --force": "--force has no use with --import; it belongs to --register and the "
        "menu.",
        "--list --audit_days 9": "--audit_days has no use with --list; it belongs to --register, "
        "--identify, --watch, --remove, --export, --import, --reembed and the menu.",
        "--audit --model_path m": "--model_path has no use with --audit; it belongs to all but "
        "--audit and --list_devices.",
        "--reembed --threshold 0.5": "--threshold has no use with --reembed; it belongs to "
        "--identify, --watch and the menu.",
        "--json": "--json has no use with the menu.",
        "x.opus": "'x.opus' is one word too many; did you mean --identify x.opus?",
        "'my clip.opus' --top_k 2": "'my clip.opus' is one word too many; did you mean --identify "
        "'my clip.opus'?",
        "list": "'list' is one word too many; did you mean --list?",
        "list-devices": "'list-devices' is one word too many; did you mean --list_devices?",
        "--remove Ada Lovelace": "'Lovelace' is one word too many; --help tells more.",
        "--list -- -a.wav": "'-a.wav' is one word too many; --help tells more.",
        "delete Ada": "'delete' is one word too many; did you mean --remove NAME?",
        "--delete Ada": "There is no option --delete; did you mean --remove NAME?",
        "--enroll Ada a.wav": "There is no option --enroll; did you mean --register NAME FILE?",
        "--enrol Ada a.wav": "There is no option --enrol; did you mean --register NAME FILE?",
        "--add Ada a.wav": "There is no option --add; did you mean --register NAME FILE?",
        "--recognize a.wav": "There is no option --recognize; did you mean --identify FILE?",
        "--rename Ada": "There is no option --rename; --help lists all.",
        "--remov3 Ada": "There is no option --remov3; --help lists all.",
        "--register x.opus": "'x.opus' is a clip, and the name comes first: --register NAME x.opus",
        "--register x.opus Ada": "'x.opus' is a clip, and the name comes first: --register Ada "
        "x.opus",
        "--register x.opus y.wav": "'x.opus' is a clip, and the name comes first: --register NAME "
        "x.opus",
        "--hop_seconds 2": "--hop_seconds has no use with the menu; it belongs to --watch.",
    },
    "eval": {
        "models/x": "'models/x' is one word too many; did you mean --model_path models/x?",
        "--compare a b --model_path m": "--model_path has no use with --compare; it belongs to an "
        "evaluation.",
        "--compare a b --set x=1": "--set has no use with --compare; it belongs to an evaluation.",
        "--compare a b --by gender": "--by has no use with --compare; it belongs to an evaluation.",
        "--compare a b --use_gpu False": "--use_gpu has no use with --compare; it belongs to an "
        "evaluation.",
        "--engine onnx --use_gpu True": "--use_gpu has no use with --engine onnx, which computes "
        "on the CPU.",
        "--top_n 300": "--top_n has no use without --norm asnorm.",
        "--norm snorm --top_n 5": "--top_n has no use without --norm asnorm.",
        "--cohort l": "--cohort has no use without --mean or --norm.",
        "--mean --cohort_of speakers": "--cohort_of has no use without --norm.",
        "--lda_dim 5": "--lda_dim has no use without --score plda.",
        "--max_clips_per_speaker 5": "--max_clips_per_speaker has no use without --mean, --norm or "
        "--score plda.",
        "--quality": "--quality has no use without --calibrate.",
        "--force": "--force has no use without --calibrate.",
        "--verdict --write_calibration True": "--write_calibration has no use with --verdict.",
        "--calibrate --force --write_calibration False": "--force has no use with "
        "--write_calibration False.",
        "--cache a --set dataset_conf.eval_conf.cache=b": "--cache has no use beside --set "
        "dataset_conf.eval_conf.cache.",
    },
    "train": {
        "tdnn": "'tdnn' is one word too many; did you mean --configs tdnn?",
        "--configs a tdnn": "'tdnn' is one word too many; --help tells more.",
        "--epochs 2": "There is no option --epochs; did you mean --set train_conf.max_epoch=2?",
        "--max-epoch=2": "There is no option --max-epoch; did you mean --set "
        "train_conf.max_epoch=2?",
        "--lr": "There is no option --lr; did you mean --set optimizer_conf.learning_rate=…?",
        "--batch_size 8": "There is no option --batch_size; did you mean --set "
        "dataset_conf.dataLoader.batch_size=8 or --set dataset_conf.eval_conf.batch_size=8?",
        "--configs tdnn --set max_epoch=2": "--set max_epoch: unknown key (value 2); did you mean "
        "'train_conf.max_epoch'?",
        "--configs tdnn --set lr=1": "--set lr: unknown key (value 1); did you mean "
        "'optimizer_conf.learning_rate'?",
        "--configs tdnn --set train_conf.max_epoch=0": "--set train_conf.max_epoch: 0 is not "
        "valid; must be greater than or equal to 1.",
        "--resume_model m --pretrained_model p": "--pretrained_model has no use with "
        "--resume_model: the run that goes on has its own weights.",
        "--seed 1 --set train_conf.seed=2": "--seed has no use with --set train_conf.seed, which "
        "is the same.",
        "--augment_conf_path a --set augment_conf.noise.prob=1": "--augment_conf_path has no use "
        "with --set augment_conf, whose place it takes.",
    },
    "create_data": {
        "": "Give --merge, or --dataset and --path.",
        "my_corpus": "'my_corpus' is one word too many; did you mean --path my_corpus?",
        "--merge a b --seed 1": "--seed has no use with --merge; it belongs to --dataset.",
        "--merge a b --path c": "--merge and --path are two actions; give one of them.",
        "--dataset folder --path c --channel 0 --convert_mp3 True": "--convert_mp3 has no use with "
        "--channel: the lists name a channel of it.",
        "--dataset folder --path c --split_column s": "--split_column has no use without --dataset "
        "csv.",
        "--dataset folder --path c --trials t": "--trials has no use without --dataset 3dspeaker "
        "or kaldi or voxceleb.",
        "--dataset cnceleb --path c --seed 1": "--seed has no use with --dataset cnceleb, which "
        "comes with its own test speakers.",
        "--dataset folder --path c --skip_check True --num_workers 2": "--num_workers has no use "
        "with --skip_check True: no clip is decoded.",
    },
    "pack_corpus": {
        "list.txt": "Give LIST and OUT, or --verify.",
        "--verify d list.txt": "--verify and LIST are two actions; give one of them.",
        "--verify d --num_workers 2": "--num_workers has no use with --verify; it belongs to LIST.",
        "--verify d --overwrite": "--overwrite has no use with --verify; it belongs to LIST.",
    },
    "extract_features": {
        "--verify d --dtype float16": "--dtype has no use with --verify; it belongs to LIST.",
        "--verify d --configs c": "--configs has no use with --verify; it belongs to LIST.",
    },
    "average_checkpoints": {
        "a b --output o --duration 3": "--duration has no use with an average of weights alone; it "
        "belongs to --recompute_bn.",
        "a b --output o --use_gpu False": "--use_gpu has no use with an average of weights alone; "
        "it belongs to --recompute_bn.",
    },
    "calibrate": {
        "": "Give --forget, or --clips.",
        "--forget --clips d": "--forget and --clips are two actions; give one of them.",
        "--forget --model_path m": "--model_path has no use with --forget; it belongs to clips.",
        "my_people": "'my_people' is one word too many; did you mean --clips my_people?",
        "--clips d --dry_run --force": "--force has no use with --dry_run.",
        "--clips d --dry_run --out m": "--out has no use with --dry_run.",
    },
    "plot": {
        "": "The following arguments are required: WHAT, SOURCE; --help tells more.",
        "clip a.wav --method pca": "--method has no use with clip.",
        "clip a.wav --use_gpu False": "--use_gpu has no use with clip.",
        "embeddings l --start 3": "--start has no use with embeddings.",
        "embeddings e.npz --model_path m": "--model_path has no use with embeddings that are there "
        "already.",
        "embeddings . --data_root r": "--data_root has no use without a list of clips.",
        "embeddings a b": "embeddings takes one source; 2 were given.",
        "curves r --model_path m": "--model_path has no use with curves.",
        "curves r --vad silero": "--vad has no use with curves.",
        "clip a --output o": "There is no option --output; did you mean --out FILE?",
    },
    "models": {
        "get": "Give the NAME of the model to get; 'mvector models' lists them.",
        "campplus-zh again": "'again' is one word too many; did you mean mvector models get "
        "campplus-zh?",
        "get campplus-zh --from f --mirror m": "--mirror has no use with --from.",
        "get campplus-zh --language zh": "--language has no use with get NAME; it belongs to a "
        "list.",
        "campplus-zh --out d": "--out has no use with one of them; it belongs to get NAME.",
        "--sha256 s": "--sha256 has no use with a list; it belongs to get NAME.",
        "download campplus-zh x": "'x' is one word too many; --help tells more.",
    },
    "library": {
        "copy a": "The following arguments are required: TO; --help tells more.",
        "copy a b c": "'c' is one word too many; --help tells more.",
    },
    "simulate_meetings": {
        "l --out o --kind call --num_people 2 2": "--num_people has no use without --kind meeting: "
        "a call has two.",
        "l": "The following arguments are required: --out; --help tells more.",
    },
    "score_diarization": {
        "a": "The following arguments are required: HYP; --help tells more.",
        "a b c --json": "'c' is one word too many; --help tells more.",
    },
    "inspect_data": {"l m": "'m' is one word too many; --help tells more."},
    "serve": {
        "people": "'people' is one word too many; did you mean --audio_db_path people?",
        "--max_tries 0 --tries_seconds 9": "--tries_seconds has no use with --max_tries 0.",
    },
    "keys": {
        "list app --keys k": "NAME has no use with list.",
        "list --keys k --scope read": "--scope has no use with list.",
        "add --keys k": "add and remove need NAME: what a new key is for, or the id of one.",
    },
    "extract_embeddings": {
        "l o.npz --model_path m --configs c": "--configs has no use beside --model_path, which "
        "names the model already.",
        "l o.npz --engine onnx --precision bfloat16": "--precision has no use with --engine onnx, "
        "which has float32 only.",
    },
    "export_onnx": {
        "--model_path m --input features --target sherpa-onnx": "--input has no use with --target "
        "sherpa-onnx.",
        "--model_path m --list l --target sherpa-onnx": "--list has no use with --target "
        "sherpa-onnx.",
        "--model_path m --list l --input features": "--list has no use with --input features.",
        "--model_path m --data_root d": "--data_root has no use without --list.",
    },
}


@pytest.mark.parametrize(
    ("name", "line"), [(name, line) for name, lines in REFUSED.items() for line in lines]
)
def test_an_option_without_a_use_is_one_sentence_and_exit_code_2(
    name: str, line: str, capsys: pytest.CaptureFixture
) -> None:
    assert run_script(name, shlex.split(line)) == 2
    sentence = REFUSED[name][line]
    answer = json.dumps({"error": {"code": "option", "message": sentence}}) + "\n"
    out = answer if "--json" in line.split() else ""
    assert capsys.readouterr() == (out, f"{find_command(name).prog}: error: {sentence}\n")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("inspect_data", ["--data_root", "d"]),
        ("extract_features", ["out", "--data_root", "d"]),
        ("extract_embeddings", ["out.npz", "--data_root", "d"]),
        ("extract_embeddings", ["out.npz", "--channel", "0"]),
    ],
)
def test_a_packed_corpus_holds_its_clips(
    name: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "corpus.json").write_text("{}")
    assert run_script(name, [str(tmp_path), *words]) == 2
    assert f"{words[-2]} has no use with a packed corpus" in capsys.readouterr().err


# ---- what is accepted ---------------------------------------------------------------------------

ACCEPTED = {
    "contrast": [
        "--list_devices --json",
        "--audio_path1 a --audio_path2 b --json --threshold 0.5 --configs c --use_gpu False",
        "--audio_path1 a --record_seconds 2 --device usb --model_path m --channel 1",
        "a b --json --purpose login --engine onnx --use_gpu False",
        "a --device usb",
    ],
    "recognition": [
        "--register Ada --record_seconds 2 --device 1 --force --groups a b --no_audio",
        "--register Ada a.wav --channel mix",
        "--identify a b",
        "--identify a --within staff --top_k 3 --threshold 0.5 --json --channel auto "
        "--use_gpu True --engine torch",
        "--watch --device 1 --hop_seconds 0.5 --record_seconds 2",
        "--watch a --json --channel 0 --purpose search --audio_db_path d --within a --audit_days 9",
        "--watch a --threshold 0.5 --audio_db_path db",
        "--watch a --hop_seconds 1 --json --top_k 2 --channel 0 --purpose search",
        "--list --audio_db_path db --model_path m --json",
        "--list --model_path m --use_gpu False --engine onnx",
        "--remove Ada --configs c --use_gpu False --engine onnx",
        "--export f --configs c --use_gpu False --audit_days 9 --engine onnx",
        "--audit --audio_db_path db --json",
        "--audit 7",
        "--import f --no_audio --configs c --use_gpu False --engine onnx",
        "--reembed",
        "--list_devices",
        "--threshold 0.5 --within a --force --groups b --no_audio --top_k 2 --channel 0",
    ],
    "eval": [
        "--compare a b --report r --out o --bootstrap 50",
        "--resume_model m --configs c --set a=1 --overrides b=2 --use_gpu True --enrolment mean "
        "--skip_missing --cache d --save_image_path p --save_scores s --by x --metadata m "
        "--speakers t",
        "--calibrate --quality --force --write_calibration True --report r --out o --bootstrap 0",
        "--mean --norm asnorm --cohort l --cohort_of clips --top_n 5 --max_clips_per_speaker 2",
        "--score plda --plda_train l --plda_adapt m --lda_dim 10 --write_calibration False",
        "--verdict --purpose login --out o --engine onnx --use_gpu False",
    ],
    "train": [
        "--dry_run --configs c --augment_conf_path a --seed 1 --set x=1 --use_gpu False",
        "--dry_run --resume_model m --configs c",
        "--dry_run --pretrained_model m",
        "--resume_model auto --pretrained_model p --save_model_path s --log_dir l --do_eval False",
        "--resume_model auto --save_model_path s --log_dir l --do_eval False --dry_run",
    ],
    "create_data": [
        "--merge a b --output o",
        "--dataset csv --path p --output o --min_duration 1 --do_vad energy --num_workers 0 "
        "--path_column a --speaker_column b --split_column c",
        "--dataset kaldi --path p --convert_mp3 True --trials a --trials b --test_speakers 0.1 "
        "--enroll_clips 2 --seed 1",
        "--dataset folder --path p --skip_check True --channel 1",
    ],
    "pack_corpus": [
        "l o --data_root d --num_workers 0 --sample_rate 8000 --min_duration 1 --overwrite "
        "--channel 0 --augment_conf_path a",
        "--verify d",
    ],
    "extract_features": [
        "l o --data_root d --num_workers 0 --overwrite True --dtype float32 --batch_size 2 "
        "--configs c --set a=1 --use_gpu False",
        "--verify d",
    ],
    "average_checkpoints": [
        "a b --output o",
        "a --output o --recompute_bn l --data_root d --num_clips 5 --duration 2 --use_gpu False",
    ],
    "extract_embeddings": [
        "l o --model_path m --data_root d --batch_size 2 --max_duration 3 --cache c --overwrite "
        "--use_gpu False",
        "l o --configs c --channel 1 --engine torch --precision bfloat16",
    ],
    "calibrate": [
        "--clips d --model_path m --force --quality True --max_clips_per_person 0 --max_duration 9 "
        "--use_gpu False",
        "--clips d --dry_run --configs c --engine onnx",
        "--clips d --out m --channel mix",
        "--forget",
    ],
    "models": [
        "get campplus-zh --mirror m --out d --sha256 s --json",
        "get campplus-zh --from f --out d",
        "campplus-zh --json",
        "--language zh --json",
    ],
    "simulate_meetings": [
        "l m --out o --kind stereo_call --style broadcast --num_recordings 2 --minutes 1 2 "
        "--enrolled 0.3 --noise_dir n --data_root d --seed 1 --vad energy",
        "l --out o --num_people 2 10",
    ],
    "score_diarization": ["a b --collar 0.25 --skip_overlap --uem u --enrolled n --json"],
    "inspect_data": [
        "l --renumber o",
        "l --data_root d --num_workers 0 --min_duration 1 --json j --picture p.png",
    ],
    "diarize": [
        "a.wav --num_speakers 2 --exclusive --out t.rttm --json --channel 1 --same_as e.json",
        "a.wav --min_speakers 2 --max_speakers 4 --audio_db_path db --within staff --threshold 0.5",
        "a.wav --audio_db_path db --purpose search --model_path m --use_gpu False --engine onnx",
        "a.wav --configs c --register_unknown 'Speaker 1=Ada'",
    ],
    "import_library": [
        "d --audio_db_path a --no_audio --model_path m --use_gpu False",
        "d --configs c --engine onnx",
    ],
    "find_learning_rate": [
        "--configs c --set a=1 --use_gpu False --min_lr 1e-5 --max_lr 1 --num_steps 30 --out o"
    ],
    "import_checkpoint": [
        "--source mvector --path p --out o --sample_rate 8000 --front_end mvector --feature_dim 80 "
        "--configs c"
    ],
    "export_checkpoint": ["--target wespeaker --model_path m --out o"],
    "export_onnx": [
        "--model_path m",
        "--model_path m --out o --input features --precision float16",
        "--model_path m --out o --target sherpa-onnx --precision float16",
        "--model_path m --precision int8 --list l --data_root d",
    ],
    "configs": ["", "--copy d", "tdnn"],
    "library": ["copy a b", "copy audio_db postgresql://h/d --json"],
    "serve": [
        "--host h --port 0 --workers 2 --keys k --max_body_mib 1 --max_clip_seconds 9 "
        "--max_waiting 1 --max_recording_mib 1 --max_recording_seconds 9 --max_jobs 1 "
        "--batch_size 2 --requests_per_minute 0 --max_tries 3 --tries_seconds 60 --no_page "
        "--no_audio --audit_days 9 --audio_db_path d --model_path m --use_gpu False --engine onnx "
        "--threshold 0.5",
        "--configs c --purpose login",
    ],
    "keys": [
        "add 'the app' --keys k --scope admin --json",
        "list --keys k",
        "remove 1f0c93aa --keys k",
    ],
    "plot": [
        "clip a b --start 1 --duration 2 --vad silero --channel 1 --model_path m --out o.png",
        "embeddings d --method umap --named 5 --max_clips 9 --configs c --use_gpu False",
        "embeddings l.txt --data_root r --engine onnx",
        "curves r s --out o.svg",
    ],
    "demo": ["--out d"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_action_takes_all_of_its_options(name: str) -> None:
    """The lines above are accepted, and between them they give each option to each action."""
    command = find_command(name)
    taken: dict[str, set[str]] = {action.name: set() for action in command.actions}
    for line in ACCEPTED[name]:
        given = vars(build_parser(command).parse_args(shlex.split(line)))
        action, _ = bind_options(command, given)
        taken[action.name] |= given.keys()
    spelled = {parsed.dest for parsed in build_parser(command)._actions} - {"help"}
    assert set().union(*(action.fields() for action in command.actions)) == spelled
    assert set().union(*taken.values()) == spelled
    for action in command.actions:
        for option_name in action.fields().keys() - taken[action.name]:
            alone = {**sample(action), option_name: "x"}
            assert bind_options(command, alone)[0] is action, option_name


def sample(action: Action[Any]) -> dict[str, Any]:
    return {
        name: ["x"] if "nargs" in own.metadata else "x"
        for name, own in action.fields(required=True).items()
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_the_same_in_every_action(name: str) -> None:
    """Actions may disagree on whether they need an option, and on nothing else."""
    known: dict[str, Any] = {}
    for action in find_command(name).actions:
        for own in action.fields().values():
            assert known.setdefault(own.name, own.metadata) == own.metadata


def test_a_command_may_read_its_options_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    command = find_command("serve")
    values = {"MVECTOR_PORT": "9000", "MVECTOR_NO_AUDIO": "true", "MVECTOR_JSON": "1", "PORT": "1"}
    words = words_of_environment(command, {**values, "MVECTOR_KEYS": ""})
    assert sorted(words) == ["--no_audio", "--port=9000"]
    options = parsed(command, [*words, "--port", "8001"])[1]
    assert (options.port, options.no_audio) == (8001, True)
    assert words_of_environment(find_command("recognition"), values) == []
    monkeypatch.setenv("MVECTOR_NO_AUDIO", "perhaps")
    assert run_script("serve", []) == 2
    assert "MVECTOR_NO_AUDIO is 'perhaps'; give true or false." in capsys.readouterr().err


# ---- what is documented -------------------------------------------------------------------------

_PROGRAMS = "|".join(re.escape(program) for program in OF_PROGRAM)
_SUBCOMMANDS = "|".join([*COMMANDS, *ALIASES])
_DOCUMENTS = [
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "configs").glob("*.yml"),
    *(ROOT / "benchmarks").glob("*.sh"),
    *(
        ROOT / name
        for name in ("README.md", "README.zh-CN.md", "CHANGELOG.md", "benchmarks/RESULTS.md")
    ),
    *(ROOT / name / "README.md" for name in ("dataset", "dataset/samples", "audio_db")),
]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in _DOCUMENTS}
TEXTS |= {command.prog: command.epilog for command in OF_PROGRAM.values()}


def lines_in(text: str) -> list[tuple[str, str]]:
    """Program and words of each line ``python x.py …``, ``torchrun … x.py``, ``mvector x …``."""
    text = re.sub(r"\\\n\s*(#\s+)?", "", text)
    found = re.findall(rf"(?:python|torchrun [^\n`]*?) (?:tools/)?({_PROGRAMS})\b([^\n`]*)", text)
    typed = re.findall(rf"(?:^ *|-m )mvector ({_SUBCOMMANDS})\b([^\n`]*)", text, re.MULTILINE)
    found += [(find_command(ALIASES.get(name, name)).prog, words) for name, words in typed]
    return [(program, re.split(r"\s{2,}| #", words)[0].strip()) for program, words in found]


LINES = [(where, *found) for where, text in TEXTS.items() for found in lines_in(text)]
# In prose, `x.py --option` names an option and need not be complete.
MENTIONS = {
    (where, program, flag)
    for where, text in TEXTS.items()
    for program, words in [
        *re.findall(rf"`(?:python )?(?:tools/)?({_PROGRAMS}) ([^`]*)`", text),
        *(
            (find_command(ALIASES.get(name, name)).prog, words)
            for name, words in re.findall(rf"`(?:[^`]*-m )?mvector ({_SUBCOMMANDS}) ([^`]*)`", text)
        ),
    ]
    for flag in re.findall(r"--\w+", words)
}


def test_command_lines_are_found_in_every_kind_of_document() -> None:
    places = {where for where, _, _ in LINES}
    assert {"README.md", "docs/training.md", "dataset/README.md", *OF_PROGRAM} <= places
    assert "configs/ecapa_tdnn_large_margin.yml" in places
    assert ("docs/tutorials/train.md", "eval.py", "") in LINES
    assert ("docs/library.md", "import_library.py", "--audio_db_path") in MENTIONS
    assert len(LINES) > 100


@pytest.mark.parametrize(("where", "program", "words"), LINES)
def test_a_documented_command_line_is_accepted(where: str, program: str, words: str) -> None:
    if words != "--help":
        # what a script of the shell passes on stands there, too, and -v, which all commands take
        own = [word for word in shlex.split(words) if word not in ("$@", "-v")]
        parsed(OF_PROGRAM[program], own)


@pytest.mark.parametrize(("where", "program", "flag"), sorted(MENTIONS))
def test_an_option_named_in_prose_is_there(where: str, program: str, flag: str) -> None:
    options = build_parser(OF_PROGRAM[program])._actions
    assert flag in {spelling for own in options for spelling in own.option_strings}


def test_a_parser_notes_only_what_was_given() -> None:
    for command in OF_PROGRAM.values():
        for action in build_parser(command)._actions:
            assert action.default == argparse.SUPPRESS
