"""The three-line interface: load a model, compare clips, recognise people."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mvector.audio import AudioLimits, AudioSource, Channel, ChannelOf, parse_channel, source_name
from mvector.audio.clip_report import ENROLMENT_FLOOR, TRUSTED, QualityLimits
from mvector.audio.sources import buffer_unseekable
from mvector.compute.device import requested_device
from mvector.embedding.encoder import SpeakerEncoder
from mvector.embedding.listening import Listening
from mvector.errors import AudioError, ClipTooBadError, LibraryError, MVectorError
from mvector.models.engine import Engine, load_model
from mvector.models.named import model_folder, model_name
from mvector.recognition.answers import Recognition, Registration, Score, Verification
from mvector.recognition.arguments import check_arguments, with_rate
from mvector.recognition.decision import Decision
from mvector.recognition.judge import Judge
from mvector.recognition.model_choice import find_model, usable_calibration
from mvector.recognition.searching import Search
from mvector.recognition.sides import match_sides, together
from mvector.scoring.strangers import Strangers

if TYPE_CHECKING:
    import numpy as np

    from mvector.config import Config
    from mvector.diarization.options import DiarizationOptions
    from mvector.diarization.result import Diarization
    from mvector.evaluation.calibration import Calibration
    from mvector.recognition.live import LiveDiarizer
    from mvector.speakers.library import SpeakerLibrary


class MVectorPredictor:
    """Embeds, compares and recognises with a trained model.

    Safe to use from several threads at once. Audio is a path, encoded bytes, a binary file object,
    ``(samples, rate)``, or samples alone (array or tensor) at ``sample_rate`` in Hz, which is the
    model's where none is given; what tells its own rate keeps it. Longer clips are heard in
    windows, of 30 s as a rule, so that memory does not grow with their length. A clip may name its
    channel: ``path.wav#channel=1``, or :class:`mvector.audio.ChannelOf`.

    Args:
        model_path: model folder, ``box`` for the model in the box, or the name of a published one
            that was downloaded (``mvector models``); ``None`` takes
            ``models/<Model>_<Feature>/best_model`` of ``configs``, or else the model that the
            people of the library were enrolled with, the only one under ``models/``, or the one in
            the box.
        configs: configuration that names the model where ``model_path`` does not.
        threshold: takes the place of the model's calibrated one.
        purpose: what verdicts are for, of :data:`mvector.recognition.judge.OPERATING_POINT_OF`.
        audio_db_path: folder of the speaker library, or its ``postgresql://`` address; opened
            when first needed.
        use_gpu: ``True``, ``False``, or ``None`` for a GPU if there is one.
        engine: what runs the model: ``torch``, ``onnx`` (its model.onnx, on a CPU and without
            torch), or ``auto``, which is onnx on a CPU where the folder has that file.
        listening: how much of clips is heard, in place of what the model folder says. Thresholds
            that were measured with another one are not used.
        limits: bounds on the clips that are accepted, in place of those of ``listening``.
        channel: of clips that name none; ``None``: as the model says, as a rule ``auto``.
        quality: what clips are to be trusted; others give the reasons beside the score.
        enrolment_floor: what clips are enrolled at all, unless forced.
        library_options: more arguments of :class:`mvector.speakers.SpeakerLibrary`.

    Raises:
        CheckpointError: there is no such model, or several to choose from.
        LibraryError: the model of the library is not to be found, or its path can be none.
        MVectorError: the threshold is not a cosine, or there is no such channel or purpose.
    """

    def __init__(
        self,
        model_path: str | os.PathLike[str] | None = None,
        *,
        configs: str | os.PathLike[str] | Mapping[str, Any] | Config | None = None,
        threshold: float | None = None,
        purpose: str = "default",
        audio_db_path: str | os.PathLike[str] | None = None,
        use_gpu: bool | None = None,
        engine: Engine = "auto",
        listening: Listening | None = None,
        limits: AudioLimits | None = None,
        channel: Channel | None = None,
        quality: QualityLimits = TRUSTED,
        enrolment_floor: QualityLimits = ENROLMENT_FLOOR,
        library_options: Mapping[str, Any] | None = None,
    ) -> None:
        check_arguments(model_path=model_path, audio_db_path=audio_db_path, listening=listening)
        check_arguments(limits=limits, quality=quality, enrolment_floor=enrolment_floor)
        check_arguments(library_options=library_options)
        self.model_path = model_folder(model_path or find_model(configs, library=audio_db_path))
        device = requested_device(use_gpu)
        model, info = load_model(self.model_path, engine, device)
        listening = listening or Listening.from_dict(info.listening)
        if limits is not None:
            listening = replace(listening, limits=limits)
        self.encoder = SpeakerEncoder(model, info, device, listening)
        calibration = usable_calibration(info, listening, self.model_path)
        self._judge = Judge(calibration, threshold, model_name(self.model_path), purpose)
        self._strangers = Strangers.of_model(info)
        self._channel = None if channel is None else parse_channel(channel)
        self._quality, self._enrolment_floor = quality, enrolment_floor
        self._audio_db_path, self._library_options = audio_db_path, dict(library_options or {})
        self._library: SpeakerLibrary | None = None
        self._opening = threading.Lock()

    def with_limits(self, limits: AudioLimits) -> MVectorPredictor:
        """The same model and library, with other bounds on the clips that are accepted."""
        other = copy(self)
        other.encoder = self.encoder.with_limits(limits)
        return other

    def predict(self, audio_data: AudioSource, *, sample_rate: int | None = None) -> np.ndarray:
        """Embedding ``(embd_dim,)`` of a clip, float32; an ``AudioError`` if it cannot be heard."""
        return self.encoder.embed(self._heard(audio_data, sample_rate))

    def predict_batch(
        self,
        audios: Sequence[AudioSource],
        *,
        batch_size: int = 16,
        progress: bool = False,
        sample_rate: int | None = None,
    ) -> np.ndarray:
        """Embeddings of clips of any lengths: float32 of shape ``(clips, embd_dim)``.

        Each is what :meth:`predict` gives. Memory grows neither with their number nor their length.

        Raises:
            AudioError: a clip cannot be used; the message names the first one.
        """
        check_arguments(audios=audios, batch_size=batch_size)
        heard = [self._heard(audio, sample_rate) for audio in audios]
        return self.encoder.embed_batch(heard, batch_size=batch_size, progress=progress)

    def contrast(
        self,
        audio_data1: AudioSource,
        audio_data2: AudioSource,
        *,
        threshold: float | None = None,
        sample_rate: int | None = None,
    ) -> Score:
        """Cosine similarity of two clips' embeddings: a float in [-1, 1].

        ``.decide()`` of it gives the verdict, and ``.reasons`` says what the clips fall short of. A
        ``threshold`` takes the place of the predictor's in this score's decisions.

        Raises:
            AudioError: a clip cannot be used.
            MVectorError: the threshold is not a cosine.
        """
        judge = self._judge.with_threshold(threshold)
        clips = [self._heard(clip, sample_rate) for clip in (audio_data1, audio_data2)]
        heard = [*map(self.encoder.embed_measured, clips)]
        return Score.of_clips(heard, judge, self._quality, self._strangers)

    @property
    def calibration(self) -> Calibration | None:
        """The model's calibration of cosines, or ``None`` if never measured."""
        return self._judge.calibration

    @property
    def threshold(self) -> float:
        """The threshold for two clips whose quality is not known.

        Raises:
            MVectorError: none was given and the model has no calibration.
        """
        return self._judge.threshold

    @property
    def threshold_source(self) -> str:
        """Where the threshold comes from, in few words."""
        return self._judge.threshold_source()

    def decide(self, score: float, *, threshold: float | None = None) -> Decision:
        """Turn a score of :meth:`contrast`, or any cosine of two embeddings, into a verdict.

        A ``threshold`` takes the place of the predictor's, this once.

        Raises:
            MVectorError: there is no threshold, or it is not a cosine.
        """
        if isinstance(score, Score):
            return score.decide(threshold)
        check_arguments(score=score)
        return self._judge.with_threshold(threshold).decide(score)

    @property
    def library(self) -> SpeakerLibrary:
        """The speaker library, opened on first use, and made if there is none.

        Raises:
            LibraryError: no folder was given, or it cannot be used.
        """
        return self.open_library(create=True)

    def open_library(self, *, create: bool) -> SpeakerLibrary:
        """The speaker library, which is opened once.

        Raises:
            LibraryError: no folder was given, or it cannot be used; there is no library, where
                ``create`` is false.
        """
        with self._opening:
            if self._library is None:
                from mvector.speakers.library import SpeakerLibrary

                if self._audio_db_path is None:
                    raise LibraryError("There is no speaker library: give audio_db_path.")
                self._library = SpeakerLibrary(
                    self._audio_db_path, self.encoder, **{"create": create, **self._library_options}
                )
            return self._library

    def _library_of_people(self) -> SpeakerLibrary | None:
        """The speaker library; ``None``: there is none, or its folder holds nobody yet.

        Raises:
            LibraryError: there is no such folder, or it cannot be used.
        """
        if self._audio_db_path is None:
            return None
        try:
            library = self.open_library(create=False)
        except LibraryError as error:
            if error.code == "library-not-found" and os.path.isdir(self._audio_db_path):
                return None
            raise
        return library if library.num_people() else None

    def register(
        self,
        audio_data: AudioSource,
        user_name: str,
        *,
        sample_rate: int | None = None,
        force: bool = False,
        metadata: Mapping[str, Any] | None = None,
        groups: Sequence[str] = (),
        dry_run: bool = False,
    ) -> Registration:
        """Enrol a clip of a person, who may have clips already; the result is the stored path.

        Args:
            audio_data, sample_rate: the clip.
            user_name: any Unicode, up to 200 characters.
            force: enrol a clip below the quality floor too.
            metadata: what to keep about the person, JSON values.
            groups: that the person belongs to, to recognise within.
            dry_run: only say whether the clip can be enrolled, and how good it is.

        Raises:
            AudioError: the clip cannot be used, or is too bad to be enrolled.
            LibraryError: the name or the library cannot be used.
        """
        from mvector.speakers.hearing import hear
        from mvector.speakers.names import checked_name

        user_name, name = checked_name(user_name), source_name(audio_data)
        heard = self._heard(audio_data, sample_rate)
        made = None if dry_run else hear(self.encoder, heard)
        report = self.encoder.measure(heard) if made is None else made.report
        refused = self._enrolment_floor.reasons(report)
        if refused and not force:
            raise ClipTooBadError(
                f"{name} is too bad to be enrolled: {'; '.join(refused)}; record it again, or "
                "insist by --force.",
                reasons=refused,
            )
        clip = None
        if made is not None:
            clip = self.library.register(user_name, made, metadata=metadata, groups=groups)
        return Registration(user_name, clip, report, self._quality.reasons(report))

    def recognition(
        self,
        audio_data: AudioSource,
        *,
        threshold: float | None = None,
        sample_rate: int | None = None,
        top_k: int = 1,
        within: Sequence[str] | None = None,
        is_recorded: bool = True,
    ) -> Recognition:
        """Who is speaking; unpacks into the name, ``None`` for nobody enrolled, and the best score.

        The most alike enrolled person is the speaker, or nobody is, or it cannot be told. The
        calibrated threshold depends on what is known of clip and person, and is raised with the
        number of people compared, see :meth:`mvector.recognition.judge.Judge.limits`.

        Args:
            audio_data, sample_rate: the clip.
            threshold: takes the place of the predictor's, this once, and stays as it is.
            top_k: how many of the most alike people to tell.
            within: compare with people of these groups only.
            is_recorded: write the answer into the library's audit.

        Raises:
            AudioError: the clip cannot be used.
            LibraryError: nobody is enrolled, or there is no library.
            MVectorError: there is no threshold, or it is not a cosine.
        """
        check_arguments(top_k=top_k, within=within)
        judge = self._judge.with_threshold(threshold)
        _ = judge.threshold  # without one there is no answer: say so before working
        library = self.open_library(create=False)
        search = Search(library, judge, self._strangers, self._quality, within)
        heard = self.encoder.embed_measured(self._heard(audio_data, sample_rate))
        result = search.nearest(*heard, top_k)
        if is_recorded:
            library.record("recognition", result.name, result.score)
        return result

    def verify(
        self,
        audios: Sequence[AudioSource],
        user_name: str,
        *,
        purpose: str | None = None,
        threshold: float | None = None,
        min_speech_s: float = 0.0,
        is_recorded: bool = True,
    ) -> Verification:
        """Whether the clips, taken together, are of one enrolled person, whoever else is enrolled.

        Args:
            audios: clips of one speaker.
            user_name: the person.
            purpose, threshold: take the place of the predictor's, this once.
            min_speech_s: of all clips together, for an answer to be given.
            is_recorded: write the answer into the library's audit.

        Raises:
            AudioError: a clip cannot be used, or there is too little speech.
            LibraryError: there is nobody of that name, or no library.
            MVectorError: there is no clip, or no threshold for the purpose.
        """
        check_arguments(audios=audios)
        judge = self._judge.with_threshold(threshold)
        judge = judge if purpose is None else replace(judge, purpose=purpose)
        _ = judge.threshold  # without one there is no answer: say so before working
        if not audios:
            raise MVectorError("audios holds no clip; give one or more.")
        library = self.open_library(create=False)
        heard = [self.encoder.embed_measured(self._heard(audio, None)) for audio in audios]
        embedding, report = together(heard)
        if report.speech_s < min_speech_s:
            raise AudioError(
                f"There are only {report.speech_s:.1f} s of speech, and {min_speech_s:g} s are "
                "asked for; speak longer, or give more clips.",
                code="audio-too-little-speech",
            )
        match = library.match_embedding(embedding, user_name)
        sides = match_sides(match, embedding, report, self._strangers)
        decision = judge.decide(match.score, *sides, reasons=self._quality.reasons(report))
        result = Verification(match.name, decision, judge.purpose, len(heard), report)
        if is_recorded:
            library.record(f"verification: {decision.answer}", match.name, match.score)
        return result

    def diarize(
        self,
        audio_data: AudioSource,
        *,
        options: DiarizationOptions | None = None,
        within: Sequence[str] | None = None,
        same_as: str | os.PathLike[str] | None = None,
        sample_rate: int | None = None,
        progress: bool = False,
        on_heard: Callable[[float], object] = lambda heard_s: None,
    ) -> Diarization:
        """Who spoke when; with ``audio_db_path``, by name.

        Args:
            audio_data, sample_rate: the recording, of any length.
            options: what is known of it: how many people, as a rule; ``None`` estimates all.
            within: people of these groups only may be recognised.
            same_as: JSON of an earlier recording, whose unknown people keep their labels.
            progress: show bars.
            on_heard: is told how many seconds are heard, now and then; what it raises ends the
                work.

        Raises:
            AudioError: the recording cannot be used, or has too little speech for so many people.
            LibraryError: there is no folder at ``audio_db_path`` (one in which nobody is enrolled
                names nobody), or it is no library of this model.
            MVectorError: people are to be recognised, and there is no threshold; or ``same_as``
                is another model's.
        """
        from mvector.recognition.diarizing import diarize

        check_arguments(within=within)
        heard = buffer_unseekable(
            self._heard(audio_data, sample_rate), self.encoder.listening.limits
        )
        search = self._search_of_people(within)
        found = diarize(
            self.encoder,
            heard,
            self._judge,
            options=options,
            search=search,
            same_as=same_as,
            progress=progress,
            on_heard=on_heard,
        )
        if search is None and self._audio_db_path is not None:
            note = "nobody is named: the speaker library has nobody enrolled yet"
            return replace(found, notes=(*found.notes, note))
        return found

    def diarize_live(
        self,
        *,
        options: DiarizationOptions | None = None,
        within: Sequence[str] | None = None,
    ) -> LiveDiarizer:
        """What tells turns as they end, of sound as it comes; with ``audio_db_path``, by name.

        ``for block in blocks: for told in live.hear(block): print(told.turn)``, and ``live.end()``.

        Args:
            options: what is known of the sound to come.
            within: people of these groups only may be recognised.

        Raises:
            LibraryError: as for :meth:`diarize`.
            MVectorError: people are to be recognised, and there is no threshold.
            MissingDependencyError: what finds speech and clusters voices is not installed.
        """
        from mvector.recognition.live import LiveDiarizer

        check_arguments(within=within)
        search = self._search_of_people(within)
        if search is not None:
            _ = self.threshold  # without one there is no answer: say so before listening
        return LiveDiarizer(self.encoder, search, options)

    def _search_of_people(self, within: Sequence[str] | None) -> Search | None:
        """What names people, where somebody is enrolled."""
        library = self._library_of_people()
        if library is None:
            return None
        return Search(library, self._judge, self._strangers, self._quality, within)

    def voice_of(self, audio_data: AudioSource, found: Diarization, label: str) -> AudioSource:
        """What one person of a recording says, up to a minute of it, as a clip to register.

        Args:
            audio_data: the recording that was divided.
            found: what :meth:`diarize` gave.
            label: of the person.

        Raises:
            AudioError: the recording cannot be used.
        """
        from mvector.recognition.diarizing import clip_of

        return clip_of(self.encoder, self._heard(audio_data, None), found, label)

    def _heard(self, audio: AudioSource, sample_rate: int | None) -> AudioSource:
        audio = with_rate(audio, sample_rate)
        return audio if self._channel is None else ChannelOf(audio, self._channel)

    def get_users(self) -> list[str]:
        """Who is enrolled, in alphabetical order; a ``LibraryError`` where there is no library."""
        return self.open_library(create=False).names()

    def remove_user(self, user_name: str) -> int:
        """Forget a person; gives the number of clips removed. A ``LibraryError`` if unknown."""
        return self.open_library(create=False).remove(user_name)
