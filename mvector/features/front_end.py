"""How a clip is read and brought to level before features are computed from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mvector.audio.channels import Channel, parse_channel
from mvector.audio.io import read_audio
from mvector.audio.level import check_speech
from mvector.audio.silence import drop_digital_silence
from mvector.audio.sources import AudioSource, source_name
from mvector.audio.vad import VadMethod, trim_silence
from mvector.config.front_end_options import FrontEndOptions
from mvector.config.section import check_options
from mvector.errors import AudioError

if TYPE_CHECKING:
    from mvector.config.schema import Config


@dataclass(frozen=True)
class FrontEnd:
    """Everything between a clip and the backbone; it travels with the weights.

    Attributes:
        sample_rate: in Hz.
        preprocess: feature method, its arguments and normalisation (``preprocess_conf``).
        use_dB_normalization: bring every clip to ``target_dB`` first.
        target_dB: RMS level in dB relative to full scale.
        drop_silence: drop digital silence before anything else, and take a constant offset away
            before the level; see :func:`mvector.audio.silence.drop_digital_silence`.
        do_vad, vad_method: drop stretches without speech; see :func:`mvector.audio.trim_silence`.
        min_duration: shortest clip accepted, in seconds.
        waveform_scale: factor on the waveform, behind the level: 32768 for models whose features
            were computed from samples in the range of 16-bit integers.
        channel: which one is heard of clips with several, unless a clip names its own; see
            :func:`mvector.audio.read_audio`.

    Raises:
        AudioError: there can be no such channel.
        ConfigError: another value is impossible.
    """

    sample_rate: int
    preprocess: Mapping[str, Any]
    use_dB_normalization: bool = True  # noqa: N815 - the key of the YAML file
    target_dB: float = -20.0  # noqa: N815 - the key of the YAML file
    drop_silence: bool = False
    do_vad: bool = False
    vad_method: VadMethod = "energy"
    min_duration: float = 0.5
    waveform_scale: float = 1.0
    channel: Channel = "auto"

    def __post_init__(self) -> None:
        parse_channel(self.channel)
        settings = {name: value for name, value in vars(self).items() if name != "preprocess"}
        check_options(FrontEndOptions, settings, "The front end")

    @classmethod
    def from_config(cls, config: Config) -> FrontEnd:
        """The front end that a training configuration describes."""
        data = config.dataset_conf
        return cls(
            sample_rate=data.sample_rate,
            preprocess=config.preprocess_conf.model_dump(mode="json"),
            use_dB_normalization=data.use_dB_normalization,
            target_dB=data.target_dB,
            drop_silence=data.drop_silence,
            do_vad=data.do_vad,
            vad_method=data.vad_method,
            min_duration=data.min_duration,
            waveform_scale=data.waveform_scale,
            channel=data.channel,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for YAML; without settings that came later where they are as before.

        So what was written before there was a choice has the fingerprint that it had.
        """
        values = asdict(self)
        if self.channel == "auto":
            del values["channel"]
        if not self.drop_silence:
            del values["drop_silence"]
        return values

    def decode(
        self, source: AudioSource, *, offset_s: float = 0.0, duration_s: float | None = None
    ) -> np.ndarray:
        """Decode a stretch of a clip at the front end's rate, unchecked."""
        return read_audio(
            source,
            self.sample_rate,
            offset_s=offset_s,
            duration_s=duration_s,
            channel=self.channel,
            mono_as_is=True,
        )

    def read_clip(self, source: AudioSource) -> np.ndarray:
        """Decode a clip for training; an AudioError if it is damaged, too short or silent."""
        name = source_name(source)
        decoded = self.decode(source)
        heard = self.speech(decoded, name)
        return self.check_clip(heard, name, num_dropped=len(decoded) - len(heard))

    def speech(self, waveform: np.ndarray, name: str) -> np.ndarray:
        """What the model hears of decoded samples.

        That is all of them; with ``drop_silence`` all but digital silence, which is found in these
        samples alone, with ``do_vad`` the speech in what is left.

        Raises:
            AudioError: with either, the samples are silent; with ``do_vad``, there is no speech.
        """
        rate = self.sample_rate
        heard = drop_digital_silence(waveform, rate) if self.drop_silence else waveform
        if self.do_vad or len(heard) < len(waveform):
            check_speech(waveform, rate, name=name, min_duration_s=0.0)
        if not self.do_vad:
            return heard
        heard = trim_silence(heard, rate, self.vad_method)
        if not len(heard):
            raise AudioError(
                f"{name} holds no speech; listen to it, or set dataset_conf.do_vad to False.",
                code="audio-no-speech",
            )
        return heard

    def check_clip(self, waveform: np.ndarray, name: str, *, num_dropped: int = 0) -> np.ndarray:
        """The waveform; an AudioError if it is shorter than ``min_duration`` or silent.

        ``num_dropped`` samples of the clip are not in it, see :meth:`speech`.
        """
        check_speech(
            waveform,
            self.sample_rate,
            name=name,
            min_duration_s=self.min_duration,
            dropped_s=num_dropped / self.sample_rate,
        )
        return waveform
