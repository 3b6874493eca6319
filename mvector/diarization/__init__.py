"""Who spoke when: turns of a recording, their files, and how right they are."""

from mvector.diarization.rttm import read_rttm, read_uem, write_rttm, write_uem
from mvector.diarization.turns import Turn

__all__ = ["Turn", "read_rttm", "read_uem", "write_rttm", "write_uem"]
