"""The ``mvector`` command: it teaches, takes the names that people type, and needs no clone."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from small_settings import ROOT

from mvector import cli
from mvector.cli import ALIASES, COMMANDS, PHRASES, demo, find_command, main, run_script
from mvector.cli.configs import title_of
from mvector.cli.demo import make_folder
from mvector.cli.options import Action, Command, Options, bind_options, build_parser
from mvector.cli.subcommand import as_subcommand, in_place_of_scripts
from mvector.errors import MVectorError
from mvector.shipped import shipped_configs

SCRIPTS = {path.stem for path in ROOT.glob("*.py")} - {"setup"}
TOOLS = {path.stem for path in (ROOT / "tools").glob("*.py")}


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The program and words of the commands that would have been run."""
    calls: list[str] = []
    monkeypatch.setattr(
        "mvector.cli.running.run_command",
        lambda load, argv: calls.append(" ".join([load().prog, *argv])) or 0,
    )
    return calls


@pytest.mark.parametrize("script", sorted(SCRIPTS | TOOLS))
def test_every_script_and_tool_is_a_command_of_its_name(script: str, started: list[str]) -> None:
    for typed in (script, f"{script}.py", script.replace("_", "-"), script.upper()):
        assert main([typed, "--option", "value"]) == 0
    name = ALIASES.get(script, script)
    assert started == [f"mvector {name} --option value"] * 4
    program = find_command(name).prog
    assert program.removesuffix(".py") == script


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("compare", "contrast"),
        ("verify", "contrast"),
        ("recognise", "recognition"),
        ("recognize", "recognition"),
        ("evaluate", "eval"),
        ("import", "import_checkpoint"),
        ("create-data", "create_data"),
        ("pack-corpus", "pack_corpus"),
    ],
)
def test_a_name_that_one_would_guess_works(typed: str, name: str, started: list[str]) -> None:
    assert main([typed]) == 0
    assert started == [f"mvector {name}"]


def test_other_names_lead_to_commands_and_hide_none() -> None:
    assert set(ALIASES.values()) <= set(COMMANDS)
    assert not set(ALIASES) & set(COMMANDS)
    assert not set(PHRASES) & {*COMMANDS, *ALIASES}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("contrst", "There is no command 'contrst'; did you mean mvector contrast?"),
        ("regonise", "There is no command 'regonise'; did you mean mvector recognition?"),
        (
            "register Ada",
            "There is no command 'register'; did you mean mvector recognition --register NAME "
            "CLIP?",
        ),
        ("rename Ada", "There is no command 'rename'; mvector --help lists them."),
        ("remov Ada", "There is no command 'remov'; mvector --help lists them."),
        (
            "resume",
            "There is no command 'resume'; did you mean mvector train --resume_model DIR?",
        ),
        (
            "delete Ada",
            "There is no command 'delete'; did you mean mvector recognition --remove NAME?",
        ),
        ("watch", "There is no command 'watch'; did you mean mvector recognition --watch?"),
        (
            "devices",
            "There is no command 'devices'; did you mean mvector recognition --list_devices?",
        ),
        (
            "whois",
            "There is no command 'whois'; did you mean mvector recognition --identify CLIP?",
        ),
        (
            "finetune",
            "There is no command 'finetune'; did you mean mvector train --pretrained_model DIR?",
        ),
        (
            "download campplus-zh",
            "There is no command 'download'; did you mean mvector models get NAME?",
        ),
        ("xyzzy", "There is no command 'xyzzy'; mvector --help lists them."),
        (
            "--configs c train",
            "The command comes first, then its options, and '--configs' is none; see mvector "
            "--help.",
        ),
    ],
)
def test_an_unknown_command_is_told_with_the_nearest(
    words: str, sentence: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(words.split()) == 2
    assert capsys.readouterr() == ("", f"mvector: error: {sentence}\n")


def test_an_unknown_command_is_told_to_programs_too(capsys: pytest.CaptureFixture) -> None:
    assert main(["contrst", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "option"
    assert error["message"].startswith("There is no command 'contrst'; ")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command_and_shows_what_to_type(
    words: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert main(words) == 0
    text = capsys.readouterr().out
    for name, what in COMMANDS.items():
        assert f"\n  {name:21}{what}\n" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_lines_that_help_shows_are_accepted(started: list[str]) -> None:
    lines = [line[2:].split("  ")[0] for line in cli._USAGE.splitlines() if "  mvector " in line]
    assert len(lines) > 5
    for line in lines:
        assert main(line.split()[1:]) == 0


@pytest.mark.parametrize("words", [["--version"], ["-V"], ["version"]])
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture) -> None:
    from mvector import __version__

    assert main(words) == 0
    assert capsys.readouterr().out == f"{__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_speaks_of_mvector_and_of_no_script(name: str) -> None:
    command = as_subcommand(find_command(name), name)
    assert command.prog == f"mvector {name}"
    assert f"mvector {name}" in command.epilog
    assert "python " not in command.epilog


def test_who_calls_itself_so(started: list[str]) -> None:
    assert main(["who", "a.wav"]) == 0
    assert started == ["mvector who a.wav"]
    epilog = as_subcommand(find_command("diarize"), "diarize", "who").epilog
    assert "\n  mvector who meeting.wav " in epilog
    assert "mvector diarize" not in epilog


def test_torchrun_starts_the_module() -> None:
    text = as_subcommand(find_command("train"), "train").epilog
    assert "\n  torchrun --standalone --nproc_per_node=2 -m mvector train " in text


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("train a model with train.py or", "train a model with mvector train or"),
        ("run python tools/pack_corpus.py LIST", "run mvector pack_corpus LIST"),
        ("(tools/calibrate.py)", "(mvector calibrate)"),
        ("measure it with eval.py.", "measure it with mvector eval."),
        ("'train.py' is no audio", "'train.py' is no audio"),
        ("my/eval.py is no list; see other.py", "my/eval.py is no list; see other.py"),
    ],
)
def test_a_text_names_commands_in_place_of_scripts_and_keeps_files(text: str, spelled: str) -> None:
    assert in_place_of_scripts(text) == spelled


def test_a_mistake_is_told_with_the_command_that_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["eval", "--compare", "train.py", "b.npz"]) == 2
    said = capsys.readouterr().err
    assert said.endswith(
        "The file of scores 'train.py' does not exist; write one with mvector eval --save_scores.\n"
    )


def test_a_warning_names_the_command_as_it_was_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def run(options: object) -> int:
        logging.getLogger("mvector.anything").warning("Measure them with tools/calibrate.py.")
        return 0

    command = Command("eval.py", "", "", (Action("a test", Options, run),))
    monkeypatch.setattr(cli, "find_command", lambda name: command)
    assert (run_script("eval", []), main(["eval"])) == (0, 0)
    assert capsys.readouterr().err == (
        "warning: Measure them with tools/calibrate.py.\n"
        "warning: Measure them with mvector calibrate.\n"
    )


def test_what_comes_next_is_said_as_the_command_was_started(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for speaker in ("a", "b"):
        (tmp_path / "corpus" / speaker).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "corpus" / speaker / f"{number}.wav").touch()
    corpus = ["--path", str(tmp_path / "corpus"), "--output", str(tmp_path / "lists")]
    words = ["--dataset", "folder", *corpus, "--skip_check", "True", "--test_speakers", "0"]
    assert run_script("create_data", words) == 0
    assert "\nNext: python train.py --do_eval False (with" in capsys.readouterr().out
    assert main(["create_data", *words]) == 0
    assert "\nNext: mvector train --do_eval False (with" in capsys.readouterr().out


def test_help_of_a_command_is_asked_for_in_two_ways(started: list[str]) -> None:
    assert main(["help", "train"]) == 0
    assert main(["train", "--help"]) == 0
    assert started == ["mvector train --help"] * 2


def test_the_module_runs_as_the_command_and_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; sys.argv = ['mvector', '--help']\n"
        "try: runpy.run_module('mvector', run_name='__main__')\n"
        "except SystemExit as left: assert left.code == 0\n"
        "print({'torch', 'numpy', 'pydantic', 'yaml', 'argparse'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.startswith("usage: mvector COMMAND")
    assert run.stdout.endswith("\nset()\n")


# ---- configurations ------------------------------------------------------------------------------


def test_configurations_are_listed_with_what_they_are_for(capsys: pytest.CaptureFixture) -> None:
    assert run_script("configs", []) == 0
    lines = capsys.readouterr().out.splitlines()
    listed = [line.split()[0] for line in lines[: lines.index("")]]
    assert listed == [path.stem for path in sorted((ROOT / "configs").glob("*.yml"))]
    assert "ecapa_tdnn               ECAPA-TDNN on 80 log-mel (Fbank) features" in lines
    assert all(10 < len(title_of(path)) < 80 for path in shipped_configs().values())


@pytest.mark.parametrize("typed", ["campplus", "CAMPPlus", "cam++", "configs/cam++.yml"])
def test_a_configuration_is_printed_by_its_name(
    typed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    assert run_script("configs", [typed]) == 0
    assert capsys.readouterr().out == (ROOT / "configs" / "campplus.yml").read_text()


def test_copies_are_changed_by_their_owner_and_never_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "tdnn.yml").write_text("use_model: TDNN\n")
    assert run_script("configs", ["--copy", str(mine)]) == 0
    out = capsys.readouterr().out
    assert f"{mine / 'tdnn.yml'}: there already, left as it is\n" in out
    assert f"{mine / 'campplus.yml'}\n" in out
    assert (mine / "tdnn.yml").read_text() == "use_model: TDNN\n"
    for name in shipped_configs().keys() - {"tdnn"}:
        copied = (mine / f"{name}.yml").read_bytes()
        assert copied == (ROOT / "configs" / f"{name}.yml").read_bytes()


def test_a_folder_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert run_script("configs", ["--copy", str(tmp_path / "file")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"mvector configs: error: Cannot write the configurations into '{tmp_path / 'file'}': "
    )
    assert said.endswith("; choose another DIR.\n")


# ---- the tour ------------------------------------------------------------------------------------


def test_the_tour_empties_its_own_folder_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    make_folder(out)
    (out / "models").mkdir()
    make_folder(out)
    assert not (out / "models").exists()
    precious = tmp_path / "work"
    precious.mkdir()
    (precious / "thesis.tex").touch()
    with pytest.raises(MVectorError, match=r"work' holds files that no demo wrote; choose anothe"):
        make_folder(precious)
    assert (precious / "thesis.tex").is_file()


def test_every_command_of_the_tour_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clips = {f"voice_{number}": f"corpus/voice_{number}/1.wav" for number in range(4)}
    typed: list[list[str]] = []

    def run(tour: demo._Tour, *words: str, codes: tuple[int, ...] = (0,)) -> int:
        typed.append([*words])
        if words[0] == "train":
            model = tour.out / "models" / "EcapaTdnn_Fbank" / "best_model"
            model.mkdir(parents=True)
            (model / "model.yml").write_text("metrics: {eer: 0.125, min_dcf: 0.5}\n")
        return codes[-1]

    monkeypatch.setattr(demo._Tour, "run", run)
    monkeypatch.setattr(demo._Tour, "first_clips", lambda tour, name: clips)
    monkeypatch.setattr("mvector.demo.corpus.write_corpus", lambda *args, **options: None)
    assert run_script("demo", ["--out", str(tmp_path / "demo")]) == 0
    assert (tmp_path / "demo" / "samples" / "voice_a" / "1.flac").is_file()
    assert "EER 12.50 %, minDCF 0.500" in capsys.readouterr().out
    names = [words[0] for words in typed]
    assert dict.fromkeys(names) == dict.fromkeys(
        ["contrast", "recognition", "create_data", "train", "eval"]
    )
    for name, *words in typed:
        command = find_command(name)
        bind_options(command, vars(build_parser(command).parse_args(words)))
    for clip in {word for words in typed for word in words if word.startswith("samples/")}:
        assert (tmp_path / "demo" / clip).is_file()
