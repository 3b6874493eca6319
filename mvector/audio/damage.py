"""What is said of clips that are not whole, whichever decoder finds it."""

from __future__ import annotations

import logging

from mvector.errors import AudioError

logger = logging.getLogger(__name__)

# Lossy containers may overstate their length by a frame or two; half a second is damage.
_MOST_MISSING_S = 0.5


def undecodable(name: str) -> AudioError:
    """The error of a clip whose decoding fails on the way."""
    return AudioError(
        f"{name} is damaged: it cannot be decoded to its end; copy or export it again.",
        code="audio-undecodable",
    )


def check_whole(name: str, promised_s: float, end_s: float, missing_s: float) -> None:
    """Refuse a clip that ends more than half a second before what its header promises.

    Args:
        name: how messages call the clip.
        promised_s: how long the header says the clip is.
        end_s: where what can be decoded ends.
        missing_s: how much is missing of the stretch that is read.

    Raises:
        AudioError: more than half a second is.
    """
    if missing_s > _MOST_MISSING_S:
        raise AudioError(
            f"{name} is cut short: its header promises {promised_s:.2f} s, only {end_s:.2f} s can "
            "be decoded; copy it again.",
            code="audio-undecodable",
        )


def check_skipped(name: str, num_skipped: int, num_packets: int) -> None:
    """Refuse a clip most of whose packets could not be decoded.

    Raises:
        AudioError: it is more than half of them.
    """
    if 2 * num_skipped > num_packets:
        raise AudioError(
            f"{name} is damaged: {num_skipped} of its {num_packets} packets cannot be decoded; "
            "copy or export it again.",
            code="audio-undecodable",
        )


def warn_of_skipped(name: str, num_skipped: int, num_packets: int) -> None:
    """Tell of packets that could not be decoded."""
    if num_skipped:
        message = "%s: %d of %d packets cannot be decoded and are left out."
        logger.warning(message, name, num_skipped, num_packets)
