"""The result in one line: to paste into a text, and as a row of a LaTeX table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# What TeX takes for more than a letter.
_TEX_SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"}


def summary(results: dict[str, Any]) -> dict[str, str]:
    """The result of ``results.json`` as ``text`` and as ``latex``.

    The row has the system, EER in per cent, minDCF (p_target 0.01, unit costs), trials and
    speakers; intervals stand in brackets.
    """
    cost = results["detection_costs"][0]
    eer = _with_interval(results["eer"], lambda rate: f"{100.0 * rate:.2f}", " %")
    min_dcf = _with_interval(cost, lambda value: f"{value:.3f}")
    num_trials = f"{results['num_target'] + results['num_nontarget']:,}"
    num_speakers = f"{results['num_speakers']:,}"
    confidence = results["bootstrap"].get("confidence")
    bracketed = f" ({100 * confidence:g} % intervals over speakers)" if confidence else ""
    row = (
        _escaped(results["model"]["name"]),
        _with_interval(results["eer"], lambda rate: f"{100.0 * rate:.2f}"),
        min_dcf,
        num_trials.replace(",", "{,}"),
        num_speakers.replace(",", "{,}"),
    )
    return {
        "text": f"EER {eer}, minDCF({cost['p_target']:g}) {min_dcf}, {num_trials} trials, "
        f"{num_speakers} speakers{bracketed}",
        "latex": " & ".join(row) + r" \\",
    }


def _with_interval(figure: dict[str, Any], shown: Callable[[float], str], unit: str = "") -> str:
    text = f"{shown(figure['value'])}{unit}"
    if figure["low"] is None:
        return text
    return f"{text} [{shown(figure['low'])}, {shown(figure['high'])}]"


def _escaped(name: str) -> str:
    return "".join(_TEX_SPECIAL.get(char, char) for char in name)
