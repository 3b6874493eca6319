"""Which files are clips: every container that libsndfile or FFmpeg reads, and its suffixes."""

from __future__ import annotations

# Containers as soundfile.available_formats() names them. Not among them: RAW, which has no header;
# MAT4 and MAT5, in which any matrix may lie; SD2, whose header is a file of its own; XI, which has
# no rate; WAVEX, which is WAV.
SOUNDFILE_FORMATS = {
    "AIFF": (".aif", ".aiff", ".aifc"),
    "AU": (".au", ".snd"),
    "AVR": (".avr",),
    "CAF": (".caf",),
    "FLAC": (".flac",),
    "HTK": (".htk",),
    "IRCAM": (".sf", ".ircam"),
    "MP3": (".mp3", ".mp2", ".mp1"),
    "MPC2K": (".snd",),
    "NIST": (".sph", ".nist"),
    "OGG": (".ogg", ".oga", ".opus"),
    "PAF": (".paf",),
    "PVF": (".pvf",),
    "RF64": (".rf64",),
    "SDS": (".sds",),
    "SVX": (".iff", ".svx", ".8svx"),
    "VOC": (".voc",),
    "W64": (".w64",),
    "WAV": (".wav", ".wave", ".bwf"),
    "WVE": (".wve",),
}

# Containers as FFmpeg names its demuxers. No other is opened: FFmpeg also knows playlists and lists
# of files, which make it open other files and addresses, and formats without a header, which it
# takes any bytes for.
FFMPEG_FORMATS = {
    "aac": (".aac", ".adts"),
    "ac3": (".ac3",),
    "aiff": (),
    "amr": (".amr", ".awb"),
    "ape": (".ape",),
    "asf": (".wma", ".asf", ".wmv"),
    "au": (),
    "avi": (".avi",),
    "caf": (),
    "dsf": (".dsf",),
    "dss": (".dss",),
    "dts": (".dts",),
    "eac3": (".eac3", ".ec3"),
    "flac": (),
    "flv": (".flv",),
    "ircam": (),
    "matroska": (".mkv", ".mka"),
    "mov": (".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".3gpp", ".3g2", ".3ga"),
    "mp3": (),
    "mpc": (".mpc",),
    "mpc8": (),
    "mpeg": (".mpg", ".mpeg", ".vob"),
    "mpegts": (".mts", ".m2ts"),
    "nistsphere": (".wv1", ".wv2"),  # of the WSJ corpora, compressed by shorten
    "ogg": (".spx",),
    "oma": (".oma",),
    "qcp": (".qcp",),
    "rm": (".rm", ".ra"),
    "shn": (".shn",),
    "sox": (".sox",),
    "tak": (".tak",),
    "tta": (".tta",),
    "voc": (),
    "w64": (),
    "wav": (),
    "wv": (".wv",),
    "webm": (".webm",),
}

SOUNDFILE_SUFFIXES = {suffix for own in SOUNDFILE_FORMATS.values() for suffix in own}
MEDIA_SUFFIXES = {suffix for own in FFMPEG_FORMATS.values() for suffix in own}
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | MEDIA_SUFFIXES
