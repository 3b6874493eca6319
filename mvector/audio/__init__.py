"""Audio: decoding, level, speech, microphone. Everything behind this room is float32 mono."""

from mvector.audio.channels import (
    Channel,
    ChannelOf,
    parse_channel,
    split_channel,
    with_channel,
)
from mvector.audio.decoding import AudioInfo
from mvector.audio.formats import AUDIO_SUFFIXES, PassedOver, is_audio
from mvector.audio.io import (
    audio_info,
    audio_windows,
    channel_blocks,
    channel_choices,
    header_duration,
    read_audio,
    write_wav,
)
from mvector.audio.level import SILENCE_DB, check_duration, check_speech, level_db
from mvector.audio.limits import AudioLimits
from mvector.audio.sources import AudioSource, source_name
from mvector.audio.vad import speech_segments, trim_silence

__all__ = [
    "AUDIO_SUFFIXES",
    "SILENCE_DB",
    "AudioInfo",
    "AudioLimits",
    "AudioSource",
    "Channel",
    "ChannelOf",
    "PassedOver",
    "audio_info",
    "audio_windows",
    "channel_blocks",
    "channel_choices",
    "check_duration",
    "check_speech",
    "header_duration",
    "is_audio",
    "level_db",
    "parse_channel",
    "read_audio",
    "source_name",
    "speech_segments",
    "split_channel",
    "trim_silence",
    "with_channel",
    "write_wav",
]
