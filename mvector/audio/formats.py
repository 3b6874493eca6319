"""Which files are clips: every container that libsndfile or FFmpeg reads, and its suffixes."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection

from mvector.errors import DataError, count_of, shorten_list

logger = logging.getLogger(__name__)

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
    "MP3": (".mp3", ".mp2", ".mp1", ".mpga"),
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
    "mov": (".m4a", ".m4b", ".m4r", ".mp4", ".mov", ".3gp", ".3gpp", ".3g2", ".3ga"),
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
    "webm": (".webm", ".weba"),
}

SOUNDFILE_SUFFIXES = {suffix for own in SOUNDFILE_FORMATS.values() for suffix in own}
MEDIA_SUFFIXES = {suffix for own in FFMPEG_FORMATS.values() for suffix in own}
AUDIO_SUFFIXES = SOUNDFILE_SUFFIXES | MEDIA_SUFFIXES

# How clips without a suffix are known.
_MAGIC = (
    *(b"RIFF", b"RIFX", b"RF64", b"BW64", b"riff\x2e\x91", b"FORM", b"caff", b".snd", b"dns."),
    *(b"fLaC", b"OggS", b"ID3", b"NIST_1A", b"Creative Voice", b"\x1aE\xdf\xa3", b"#!AMR"),
    *(b"0&\xb2u\x8ef\xcf\x11", b"MAC ", b"MPCK", b"MP+", b"wvpk", b"TTA", b"tBaK", b"ajkg"),
    *(b".RMF", b".ra\xfd", b"FLV\x01", b"\x02dss", b"\x03dss", b"DSD ", b"\x0bw"),
    *(b"\0\0\x01\xba", b".SoX", b"XoS."),
)

# What corpora keep beside their clips.
_COMPANIONS = {
    *(".txt", ".trn", ".lab", ".textgrid", ".phn", ".wrd", ".lrc", ".srt", ".vtt", ".ctm", ".stm"),
    *(".rttm", ".eaf", ".trs", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".html", ".md", ".rst"),
    *(".pdf", ".yml", ".yaml", ".toml", ".ini", ".cfg", ".lst", ".list", ".scp", ".log", ".md5"),
    *(".sha1", ".sha256", ".py", ".sh", ".m", ".db", ".jpg", ".jpeg", ".png", ".gif"),
}
_MOST_NAMED = 3


def is_audio(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a clip, by its suffix, or by its first bytes where it has none."""
    name = os.path.basename(path)
    if name.startswith("."):
        return False
    suffix = os.path.splitext(name)[1].lower()
    return suffix in AUDIO_SUFFIXES or (not suffix and _begins_as_audio(path))


def refuse_as_list(path: str | os.PathLike[str]) -> None:
    """Tell somebody who gives a clip where a list of clips is read.

    Raises:
        DataError: the file is a clip.
    """
    if os.path.isfile(path) and is_audio(path):
        raise DataError(
            f"'{os.fspath(path)}' is a clip, and a list of clips is needed here: a text file with "
            "one in each line.",
            code="list-malformed",
        )


def _begins_as_audio(path: str | os.PathLike[str]) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            head = stream.read(16)
    except OSError:
        return False
    # Frames of MPEG and AAC begin with eleven ones; so does UTF-16, with a twelfth
    is_frame = len(head) > 2 and head[0] == 0xFF and head[1] >= 0xE0 and head[1] < 0xFE
    return is_frame or head.startswith(_MAGIC) or head[4:8] == b"ftyp"


class PassedOver:
    """Files that a search for clips leaves out, to be counted and named.

    Attributes:
        odd: paths of files of a kind that is not known.
        num_companions: how many others there are that no one takes for clips, such as texts.
    """

    def __init__(self) -> None:
        self.odd: list[str] = []
        self.num_companions = 0

    def takes(self, path: str | os.PathLike[str]) -> bool:
        """Whether a file is a clip; others are noted."""
        if is_audio(path):
            return True
        name = os.path.basename(path)
        suffix = os.path.splitext(name)[1].lower()
        if name.startswith(".") or not suffix or suffix in _COMPANIONS:
            self.num_companions += 1
        else:
            self.odd.append(os.fspath(path))
        return False

    def report(
        self, folder: str | os.PathLike[str], with_clips: Collection[str] | None = None
    ) -> None:
        """One line of the log, a warning if it tells of more than companions.

        Args:
            folder: that was searched; files are named from there.
            with_clips: folders in it, as of speakers, in which clips were found; others with files
                of an unknown kind are named. ``None`` where folders mean nothing.
        """
        odd = [os.path.relpath(path, folder) for path in sorted(self.odd)]
        parents = {path.split(os.sep)[0] for path in odd if os.sep in path}
        lost = set() if with_clips is None else parents.difference(with_clips)
        parts = []
        if odd:
            parts.append(f"{count_of(len(odd), 'file')} of no known audio format ({_some(odd)})")
        if self.num_companions:
            parts.append(f"{count_of(self.num_companions, 'file')} such as texts and hidden ones")
        sentence = f"Passed over in '{folder}': {' and '.join(parts)}."
        if lost:
            sentence += f" No clip is found of {_some(sorted(lost))}."
        if parts:
            logger.log(logging.WARNING if odd else logging.INFO, "%s", sentence)


def _some(names: list[str]) -> str:
    return shorten_list([f"'{name}'" for name in names], _MOST_NAMED)
