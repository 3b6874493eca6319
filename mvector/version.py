"""The one place that states the version of the package.

Above 1.x, which another project of this name on the package index has: pip takes no version of
that for an upgrade of this one.
"""

__version__ = "2.0.0"
