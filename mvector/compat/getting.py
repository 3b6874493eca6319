"""A published model by its name: downloaded, checked, and made a model folder."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from mvector.compat.containers import find_checkpoint_file
from mvector.compat.conversion import SOURCES
from mvector.compat.importing import ImportedModel, import_checkpoint
from mvector.errors import CheckpointError, MVectorError
from mvector.export import export_onnx
from mvector.files import SHA256, check_writable, file_sha256, read_errors_as, write_errors_as
from mvector.home import HOME, data_home
from mvector.models.description import DESCRIPTION, new_model_folder, read_model_info
from mvector.models.onnx_file import ONNX_FILE
from mvector.published.addresses import addresses
from mvector.published.archives import is_archive, unpack
from mvector.published.downloading import TIMEOUT_S, Download, download
from mvector.published.locking import locked
from mvector.published.places import models_folder
from mvector.published.sums import Seen, remember, seen_before
from mvector.published.table import PublishedFile, PublishedModel, find_published

logger = logging.getLogger(__name__)

#: How far a file is known to be the published one: its sum is in the table; the caller gave it; it
#: is that of the first download here; or it was seen for the first time, and written down.
Trust = Literal["published", "given", "seen before", "first seen"]


@dataclass(frozen=True)
class GotModel:
    """A published model that is here.

    Attributes:
        model: what the table says of it.
        folder: its model folder.
        fingerprint: of the model.
        sha256: of the file that it was made of, and ``trust``, how far that is known; ``None`` for
            a model that was here already.
        trust: see ``sha256``.
        origin: address or path of that file.
    """

    model: PublishedModel
    folder: Path
    fingerprint: str
    sha256: str | None = None
    trust: Trust | None = None
    origin: str | None = None


def get_published(
    name: str,
    *,
    file: str | os.PathLike[str] | None = None,
    mirror: str | None = None,
    out: str | os.PathLike[str] | None = None,
    sha256: str | None = None,
    exports: bool = True,
    progress: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> GotModel:
    """Download a published model and make a model folder of it, unless it is here already.

    Nothing of what is downloaded is executed. Of processes that get one model, one downloads it.

    Args:
        name: that :func:`mvector.published.published_models` has.
        file: the published file, where it is here already; then nothing is downloaded.
        mirror: address that is asked instead of the published ones.
        out: model folder to write; by default the one that ``name`` stands for afterwards.
        sha256: that the file must have, in place of the one in the table or of the first download.
        exports: write a model.onnx into the folder, too, where the package onnx is installed.
        progress: show how far the download is.
        timeout_s: how long a server may say nothing.

    Raises:
        CheckpointError: there is no such model; no place has it; what they have is another file or
            model; it cannot be written.
        MVectorError: the mirror or the sum is none.
    """
    model = find_published(name)
    wanted = None if sha256 is None else sha256.strip().lower()
    if wanted is not None and not SHA256.fullmatch(wanted):
        raise MVectorError(f"'{sha256}' is no SHA-256: that has 64 digits from 0 to f.")
    folder = models_folder() / model.name if out is None else new_model_folder(out)
    if out is None and (here := _that_is_here(model, folder, wanted)):
        return here
    what = f"the model '{model.name}'"
    cure = f"choose another folder by --out DIR, or a home by the variable {HOME}"
    with (
        write_errors_as(CheckpointError, what, cure),
        _downloads_of(model, is_needed=out is None) as downloads,
    ):
        if out is None and (here := _that_is_here(model, folder, wanted)):
            return here  # made by another process meanwhile
        if file is None:
            part, got = _download(model, mirror, wanted, downloads, progress, timeout_s)
        else:
            part, got = _local(model, Path(file), wanted, downloads)
        trust = _check_trust(model, part, got, wanted, downloads)
        try:
            imported = _import(model, got, downloads)
            fingerprint = imported.save(folder)
            if trust in ("first seen", "given"):
                remember(downloads, part.name, Seen(got.sha256, got.url))
            if exports and find_spec("onnx") is not None:
                _export(imported, folder)
        finally:
            if file is None:
                got.path.unlink(missing_ok=True)
    return GotModel(model, folder, fingerprint, got.sha256, trust, got.url)


def _export(imported: ImportedModel, folder: Path) -> None:
    try:
        export_onnx(imported.model, folder / ONNX_FILE)
    except MVectorError as error:  # the model is of use without
        logger.warning("No %s was written: %s", ONNX_FILE, error)


def _that_is_here(model: PublishedModel, folder: Path, wanted: str | None) -> GotModel | None:
    if not (folder / DESCRIPTION).is_file():
        return None
    info = read_model_info(folder)
    stored = (info.provenance.get("published") or {}).get("sha256")
    if wanted not in (None, stored):
        raise CheckpointError(
            f"'{folder}' was made of a file with the sha256 {stored}, and not {wanted}: delete "
            "that folder to get the model anew.",
            code="download-mismatch",
        )
    return GotModel(model, folder, info.fingerprint)


@contextmanager
def _downloads_of(model: PublishedModel, *, is_needed: bool) -> Iterator[Path]:
    """The folder of a model's downloads, for this process alone; a passing one where there is none.

    Raises:
        OSError: it ``is_needed`` and cannot be written to.
    """
    folder = data_home() / "downloads" / model.name
    try:
        check_writable(folder)
    except OSError:
        if is_needed:
            raise
        with tempfile.TemporaryDirectory() as passing:
            yield Path(passing)
        return
    lock = locked(folder, model.name)
    try:
        yield folder
    finally:
        lock.release()


def _download(
    model: PublishedModel,
    mirror: str | None,
    wanted: str | None,
    downloads: Path,
    progress: bool,
    timeout_s: float,
) -> tuple[PublishedFile, Download]:
    """The first of a model's files that can be had, from the first place that has it."""
    failures: list[CheckpointError] = []
    for part in model.files:
        seen = seen_before(downloads, part.name)
        expected = wanted or part.sha256 or (seen.sha256 if seen else None)
        urls = addresses(part, mirror)
        if wanted not in (None, part.sha256):  # another file is wanted, of whatever size
            part = part.model_copy(update={"num_bytes": None})
        try:
            return part, download(
                *(part, urls, downloads),
                sha256=expected,
                progress=progress,
                timeout_s=timeout_s,
            )
        except CheckpointError as error:
            failures.append(error)
    what = f"The model '{model.name}' could not be downloaded ({'; '.join(map(str, failures))})"
    if any(error.code == "download-mismatch" for error in failures):
        raise CheckpointError(
            f"{what}: the file was changed, or a place does not tell the truth; --sha256 SUM takes "
            "another one that you trust.",
            code="download-mismatch",
        )
    raise CheckpointError(
        f"{what}; check the network and the proxy's variables and try again, which goes on with "
        "what is begun; or name a mirror by --mirror URL; or get the file elsewhere and give it: "
        f"mvector models get {model.name} --from FILE.",
        code="download-failed",
    )


def _local(
    model: PublishedModel, path: Path, wanted: str | None, downloads: Path
) -> tuple[PublishedFile, Download]:
    """A file of the user's, as if it had been downloaded."""
    file = find_checkpoint_file(path, SOURCES[model.source].files)
    with read_errors_as(CheckpointError, f"'{file}'"):
        found = file_sha256(file)
    of_sum = [part for part in model.files if part.sha256 == found]
    of_name = [part for part in model.files if part.name == file.name]
    urls = model.files[0].urls  # where a file of no such name may be from
    part = [*of_sum, *of_name, PublishedFile(name=file.name, urls=urls)][0]
    seen = seen_before(downloads, part.name)
    published = part.sha256 or next((each.sha256 for each in model.files if each.sha256), None)
    expected = wanted or published or (seen.sha256 if seen else None)
    if expected not in (None, found):
        raise CheckpointError(
            f"'{file}' has the sha256 {found}, and the published file of '{model.name}' has "
            f"{expected}: get it again, or give --sha256 {found} if you trust it.",
            code="download-mismatch",
        )
    return part, Download(file, found, str(file))


def _check_trust(
    model: PublishedModel, part: PublishedFile, got: Download, wanted: str | None, downloads: Path
) -> Trust:
    """How far the file is known to be the published one; its sum has been compared already."""
    if part.sha256 == got.sha256:
        return "published"
    if wanted is not None:
        return "given"
    return "seen before" if seen_before(downloads, part.name) else "first seen"


def _import(model: PublishedModel, got: Download, downloads: Path) -> ImportedModel:
    """The model of a file or archive, which has to be the one that the table describes."""
    checkpoint = got.path
    with tempfile.TemporaryDirectory(dir=downloads) as passing:
        if is_archive(got.path):
            checkpoint = Path(passing) / "unpacked"
            unpack(got.path, checkpoint)
        try:
            imported = import_checkpoint(checkpoint, model.source)
        except CheckpointError as error:  # of a file that will be gone: its address says more
            error.args = (str(error).replace(str(got.path), got.url),)
            raise
    found = (imported.conversion.family, imported.model.embd_dim)
    if found != (model.family, model.embd_dim):
        raise CheckpointError(
            f"'{got.url}' holds another model than '{model.name}': {found[0]} with embeddings of "
            f"{found[1]} values, and not {model.family} with {model.embd_dim}; get it elsewhere.",
            code="download-mismatch",
        )
    published: dict[str, Any] = {
        "name": model.name,
        "origin": got.url,
        "sha256": got.sha256,
        "trained_on": model.trained_on,
        "licence": model.licence,
        "cite": model.cite,
    }
    return replace(imported, provenance={**imported.provenance, "published": published})
