"""How trials are scored: by cosine, against a cohort, or by a PLDA, and the lists these take.

The lists hold clips of other people than the trials, as a rule those that the model was trained on.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mvector.data.lists import clips_of_each_speaker, read_list
from mvector.data.packed import is_packed
from mvector.embedding.encoder import SpeakerEncoder
from mvector.embedding.extraction import extract_embeddings
from mvector.errors import DataError, EvaluationError
from mvector.evaluation.embedded_trials import EmbeddedTrials
from mvector.scoring.cohort import Cohort
from mvector.scoring.cosine import cosine_scores
from mvector.scoring.norms import embedding_mean, normalised_scores, subtract_mean
from mvector.scoring.plda_training import adapt_plda, train_plda

logger = logging.getLogger(__name__)

METHODS = ("cosine", "plda")
NORMS = {"snorm": "S-norm", "asnorm": "AS-norm"}


@dataclass(frozen=True)
class BackEnd:
    """A kind of score, and the lists that it takes.

    Attributes:
        method: ``cosine`` or ``plda``.
        subtract_mean: take the mean embedding of ``cohort`` from all embeddings first.
        norm: ``snorm`` or ``asnorm``: see cosines against those of ``cohort``.
        cohort: list ``path<TAB>speaker`` for mean and norm.
        top_n: of the cohort, those most alike to each side that AS-norm takes.
        by_speaker: a cohort of speakers' means; otherwise of clips.
        plda_train: list ``path<TAB>speaker`` that a PLDA is trained on.
        plda_adapt: list of clips of the domain of the trials, whose speakers need not be known.
        lda_dim: directions that LDA keeps in front of a PLDA; ``None`` keeps all.
        max_clips_per_speaker: take so many clips of each speaker of the lists; ``None`` takes all.

    Raises:
        EvaluationError: the choices do not go together.
    """

    method: str = "cosine"
    subtract_mean: bool = False
    norm: str | None = None
    cohort: str | None = None
    top_n: int = 300
    by_speaker: bool = True
    plda_train: str | None = None
    plda_adapt: str | None = None
    lda_dim: int | None = None
    max_clips_per_speaker: int | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS or not (self.norm is None or self.norm in NORMS):
            raise EvaluationError(
                f"Scores are cosine or plda, normalised by snorm, asnorm or not; got {self.method} "
                f"and {self.norm}."
            )
        if self.method == "plda" and (self.subtract_mean or self.norm):
            raise EvaluationError(
                "A PLDA subtracts a mean and weighs what strangers have in common by itself; leave "
                "out mean and norm, or score by cosine."
            )
        if self.method == "plda" and self.plda_train is None:
            raise EvaluationError("A PLDA is trained on a list of labelled clips; name one.")
        if (self.subtract_mean or self.norm) and self.cohort is None:
            raise EvaluationError("Mean and norm are those of a cohort; name a list of its clips.")
        if self.norm == "asnorm" and self.top_n < 2:
            raise EvaluationError(f"AS-norm needs a top_n of at least 2; got {self.top_n}.")

    @property
    def score_type(self) -> str:
        """What the scores are; ``cosine`` for cosines of embeddings as they are, and these only."""
        if self.method == "plda":
            return "plda"
        name = NORMS[self.norm].lower() if self.norm else "cosine"
        return f"mean-subtracted {name}" if self.subtract_mean else name

    @property
    def lists(self) -> tuple[str, ...]:
        """The lists that are read."""
        chosen = (
            (self.plda_train, self.plda_adapt)
            if self.method == "plda"
            else (self.cohort if self.subtract_mean or self.norm else None,)
        )
        return tuple(path for path in chosen if path is not None)

    def check(self) -> None:
        """Raise ``DataError`` where a list is missing or malformed, before any clip is heard."""
        for path in self.lists:
            _read_clips(path, None, None)


def score_trials(
    encoder: SpeakerEncoder,
    embedded: EmbeddedTrials,
    back_end: BackEnd,
    *,
    root: str | None = None,
    progress: bool = False,
    **options: Any,
) -> tuple[np.ndarray, str]:
    """Scores of trials, and what they are in words.

    Where the caller has joined several processes, all must call this together.

    Args:
        encoder: the model.
        embedded: the trials.
        back_end: what to score with.
        root: folder that relative paths of its lists start from.
        progress: show bars.
        **options: of :func:`extract_embeddings`; its ``cache`` keeps cohort statistics too.

    Returns:
        ``(num_trials,)`` in the order of ``trials.labels``; and a phrase.

    Raises:
        DataError: a list is missing or malformed.
        EvaluationError: the embeddings or lists cannot be used.
    """
    options = {**options, "progress": progress}
    of_list = partial(_embed_list, encoder, embedded, root=root, options=options)
    most = back_end.max_clips_per_speaker
    if back_end.method == "plda":
        return _plda_scores(encoder, embedded, back_end, of_list)
    if not back_end.lists:
        return embedded.score(partial(cosine_scores, progress=progress)), "cosine"
    vectors, speakers, where = of_list(back_end.lists[0], most)
    words = []
    if back_end.subtract_mean:
        mean = embedding_mean(vectors)
        vectors = subtract_mean(vectors, mean)
        embedded = _subtract_mean(embedded, mean)
        words = [f"less the mean embedding of {where}"]
    if back_end.norm is None:
        scores = embedded.score(partial(cosine_scores, progress=progress))
        return scores, f"cosine {words[0]}"
    cohort = Cohort.from_embeddings(
        vectors,
        fingerprint=encoder.fingerprint,
        speakers=speakers if back_end.by_speaker else None,
    )
    top_n = back_end.top_n if back_end.norm == "asnorm" else None
    cache = options.get("cache")
    compare = partial(
        normalised_scores,
        cohort=cohort,
        top_n=top_n,
        cache_folder=None if cache is None else Path(cache) / "cohort_statistics",
        progress=progress,
    )
    size = len(cohort.vectors)
    who = f"{size:,} {'speakers' if back_end.by_speaker else 'clips'} of {where}"
    who = f"all {who}" if top_n is None else f"the {min(top_n, size):,} most alike of {who}"
    norm = f"{NORMS[back_end.norm]} of cosines against {who}"
    return embedded.score(compare), ", ".join([norm, *words])


def _plda_scores(
    encoder: SpeakerEncoder, embedded: EmbeddedTrials, back_end: BackEnd, of_list: Any
) -> tuple[np.ndarray, str]:
    most = back_end.max_clips_per_speaker
    vectors, speakers, where = of_list(back_end.plda_train, most)
    plda = train_plda(vectors, speakers, lda_dim=back_end.lda_dim, fingerprint=encoder.fingerprint)
    lda = "" if back_end.lda_dim is None else f" after LDA to {back_end.lda_dim} dimensions"
    words = f"PLDA{lda}, trained on {where}"
    if back_end.plda_adapt is not None:
        unlabelled, _, domain = of_list(back_end.plda_adapt, None)
        plda = adapt_plda(plda, unlabelled)
        words = f"{words}, adapted to {domain}"
    return embedded.score(plda.score), words


def _subtract_mean(embedded: EmbeddedTrials, mean: np.ndarray) -> EmbeddedTrials:
    """The trials with a mean subtracted from every clip, before models are made of several."""
    tested = subtract_mean(embedded.tested, mean)
    is_one = embedded.enrolled is embedded.tested
    enrolled = tested if is_one else subtract_mean(embedded.enrolled, mean)
    return replace(embedded, enrolled=enrolled, tested=tested)


def _read_clips(
    source: str, root: str | None, max_per_speaker: int | None
) -> tuple[list[str], np.ndarray]:
    if is_packed(source):
        raise DataError(
            f"'{source}' is a packed corpus, and back ends hear single clips; give the list it was "
            "packed from."
        )
    clips = read_list(source, root=root)
    kept = np.sort(np.concatenate(clips_of_each_speaker(clips.labels, max_per_speaker)))
    return [clips.paths[position] for position in kept], clips.labels[kept]


def _embed_list(
    encoder: SpeakerEncoder,
    embedded: EmbeddedTrials,
    source: str,
    max_per_speaker: int | None,
    *,
    root: str | None,
    options: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray, str]:
    """Embeddings and speakers of a list's clips, and the list in words."""
    paths, labels = _read_clips(source, root, max_per_speaker)
    logger.info("%s: embeddings of %d clips for the scores.", source, len(paths))
    table = extract_embeddings(encoder, paths, **options)
    if not len(table.good):
        raise EvaluationError(
            f"None of the {len(paths)} clips of {source} can be used (the first: "
            f"{table.failures[0][1]})"
        )
    if table.failures:
        logger.warning(
            "%s: %d of %d clips could not be used and are left out, such as: %s",
            source,
            len(table.failures),
            len(paths),
            table.failures[0][1],
        )
    tried = {*embedded.trials.enroll_paths, *embedded.trials.test_paths}
    num_shared = len(tried.intersection(paths))
    if num_shared:
        logger.warning(
            "%s: %d of its clips are in the trials too, which flatters the result.",
            source,
            num_shared,
        )
    speakers = labels[table.good]
    num_speakers = len(np.unique(speakers))
    where = f"{source} ({len(speakers):,} clips of {num_speakers:,} speakers)"
    return table.embeddings, speakers, where
