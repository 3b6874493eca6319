"""What pages show: their fenced blocks, and a reader who does all that a page says.

``<!-- not run: reason -->`` above a block says why a test does not run it. A block without a
language is what a reader sees: all its lines are printed, with whatever figures, by what stands
above it. ``...`` stands for lines left out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from small_settings import ROOT

from mvector.cli import main
from mvector.cli.common import ANSWER_CODES

# What a page says as it is takes minutes; these settings make a training of seconds.
SMALL = (
    *("dataset_conf.max_duration=1.0", "dataset_conf.dataLoader.batch_size=8"),
    *("dataset_conf.dataLoader.num_workers=0", "preprocess_conf.method_args.num_mel_bins=40"),
    *("model_conf.backbone.channels=32", "model_conf.backbone.embd_dim=32"),
    "train_conf.max_epoch=1",
)
WARM_UP = "optimizer_conf.scheduler_args.warmup_epoch=0"
ADDED = {"train": [word for setting in (*SMALL, WARM_UP) for word in ("--set", setting)]}
#: Where pages say that the service is.
ADDRESS = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Block:
    """A fenced block, and why it is not run, if it is not."""

    language: str
    content: str
    mark: str = ""

    def lines(self) -> list[str]:
        """What it says, without what is said behind ``#`` in a language of people."""
        lines = [re.sub(r"(^|\s+)# .*", "", line) for line in self.content.splitlines()]
        return [line for line in lines if line]

    def commands(self) -> list[str]:
        """The lines of the shell, each with its continuation."""
        return re.sub(r"\\\n\s*", "", "\n".join(self.lines())).splitlines()


def blocks_in(text: str) -> list[Block]:
    """All fenced blocks of a page, with their marks."""
    found = re.findall(r"<!-- (not run: \S.*?) -->|^```(\w*)\n(.*?)^```", text, re.M | re.S)
    blocks, mark = [], ""
    for marked, language, content in found:
        if not marked:
            blocks.append(Block(language, content, mark))
        mark = marked
    return blocks


@dataclass
class Reader:
    """Does what a page says, in the folder that it is in.

    Attributes:
        printed: gives what was printed since it was last asked.
    """

    printed: Callable[[], str]
    seen: str = ""
    address: str = ADDRESS
    services: list[subprocess.Popen[str]] = field(default_factory=list)

    def do(self, block: Block) -> None:
        """Run a block, or look for what it shows."""
        if block.mark:
            return
        if block.language == "sh":
            for line in block.commands():
                self._run(line.replace(ADDRESS, self.address))
        elif block.language == "python":
            code = block.content.replace(ADDRESS, self.address)
            exec(compile(code, "a page", "exec"), {})
        elif block.language == "yaml":
            self._write(block.content)
        elif not block.language:
            self._compare(block.content)

    def _run(self, line: str) -> None:
        program, *words = shlex.split(line)
        if program == "curl":
            run = subprocess.run([program, *words], capture_output=True, text=True)
            assert run.returncode == 0, f"{line}: {run.stderr}"
            self.seen += run.stdout
        elif (program, words[0]) == ("mvector", "serve"):
            self._serve(words)
        else:
            assert program == "mvector", f"{line}: mark the block as not run, and say why"
            asks = {"contrast", "--identify"} & {*words}
            assert main([*words, *ADDED.get(words[0], [])]) in (
                ANSWER_CODES.values() if asks else {0}
            ), line

    def _serve(self, words: list[str]) -> None:
        """Start the service in a process of its own, at a free port."""
        command = [sys.executable, "-m", "mvector", *words, "--port", "0"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        self.services.append(service)
        told: IO[str] = service.stdout  # type: ignore[assignment]
        while line := told.readline():
            self.seen += line
            if line.startswith("Documentation"):
                break
        found = re.search(r"http://127\.0\.0\.1:\d+", self.seen)
        assert found, f"{shlex.join(words)} did not start"
        self.address = found.group()

    def _write(self, content: str) -> None:
        """A file of a configuration, whose first line is a comment with its name."""
        name = re.match(r"# (\S+\.yml)\b", content)
        assert name, "the first line of a block of YAML is a comment with the file's name"
        Path(name.group(1)).write_text(content, encoding="utf-8")

    def _compare(self, shown: str) -> None:
        """That all lines were printed, whatever their figures."""
        self.seen += self.printed()
        lines = re.sub(r"^\[[^]]*\] ", "", self.seen, flags=re.M).splitlines()  # when it was logged
        printed = {*map(without_figures, lines)}
        for line in shown.splitlines():
            if line.strip() not in ("", "..."):
                assert without_figures(line) in printed, f"nothing printed '{line}'"

    def leave(self) -> None:
        """Stop the services that were started."""
        for service in self.services:
            service.terminate()
            service.communicate(timeout=60)


def without_figures(line: str) -> str:
    """A line in which all figures, and all white space, are alike."""
    figures = re.sub(r"\b[0-9a-f]{8,}\b|-?\b\d[\d.,]*", "0", line)
    return " ".join(re.sub(r"(?<=\s)-(?=\s|$)", "0", figures).split())


@contextmanager
def reading(printed: Callable[[], str]) -> Iterator[Reader]:
    """A reader, whose services end with the reading."""
    reader = Reader(printed)
    try:
        yield reader
    finally:
        reader.leave()
