"""Models that others published, by name: what is known of them, and how to get their files.

What becomes of a file is for others: :mod:`mvector.compat.getting` makes a model folder of it.
The table loads on first use: where models lie is asked for by every command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mvector.lazy import lazy_names
from mvector.published.places import models_folder, published_name

if TYPE_CHECKING:
    from mvector.published.table import (
        PublishedFile,
        PublishedModel,
        find_published,
        published_models,
    )

__all__ = [
    "PublishedFile",
    "PublishedModel",
    "find_published",
    "models_folder",
    "published_models",
    "published_name",
]

__getattr__ = lazy_names(
    __name__,
    dict.fromkeys(
        ("PublishedFile", "PublishedModel", "find_published", "published_models"),
        "mvector.published.table",
    ),
)
