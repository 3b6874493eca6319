"""Whether a recording has one person a channel, as calls have that are recorded so."""

from __future__ import annotations

from mvector.audio import AudioLimits, AudioSource, channel_choices

_ENOUGH = 3  # stretches of 30 s that agree: the rest of a long recording need not be asked


def channels_of_people(source: AudioSource, limits: AudioLimits) -> tuple[int, int] | None:
    """The two channels that hold a person each; ``None`` where it is not so.

    Who is called may say nothing for the first half minute, and one person may listen for longer
    than that. So all of the recording is asked, half a minute by half a minute, until the answer is
    plain: both channels hold different voices in more stretches than they hold the same in, or now
    the one is empty and now the other.

    Args:
        source: the recording; which channel it names is of no importance.
        limits: bounds on it.

    Raises:
        AudioError: the recording cannot be decoded.
    """
    balance, pair = 0, (0, 1)
    empty: set[int] = set()
    for choice in channel_choices(source, limits=limits):
        if choice.caution == "different":
            balance, pair = balance + 1, choice.pair
        elif choice.caution == "empty":
            empty.add(choice.pair[1])
        else:
            balance -= 1
        if abs(balance) == _ENOUGH:
            break
    takes_turns = balance == 0 and len(empty) > 1
    return pair if balance > 0 or takes_turns else None
