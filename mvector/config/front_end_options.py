"""What of a configuration a front end has: it stands in every model folder."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from mvector.config.section import Section


class FrontEndOptions(Section):
    """How clips are heard; ``dataset_conf`` has these among others. Durations in seconds."""

    sample_rate: int = Field(16000, ge=1000, le=1_000_000)
    min_duration: float = Field(0.5, gt=0)
    drop_silence: bool = False  # of older files; the shipped ones say True
    do_vad: bool = False
    vad_method: Literal["energy", "silero"] = "energy"
    use_dB_normalization: bool = True
    target_dB: float = Field(-20.0, le=0)
    waveform_scale: float = Field(1.0, gt=0)
    channel: int | Literal["mix", "auto"] = "auto"

    @field_validator("channel", mode="before")
    @classmethod
    def _is_channel(cls, value: object) -> object:
        is_number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if is_number or value in ("mix", "auto"):
            return value
        raise ValueError(f"{value!r} is no channel; use auto, mix, or a number from 0")
