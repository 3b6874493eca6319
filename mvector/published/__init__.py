"""Models that others published, by name: what is known of them, and how to get their files.

What becomes of a file is for others: :mod:`mvector.compat.getting` makes a model folder of it.
"""

from mvector.published.places import models_folder, published_name
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
