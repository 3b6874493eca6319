"""``python -m mvector`` is the ``mvector`` command, where that is not on the path."""

from mvector.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
