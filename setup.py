"""What pyproject.toml cannot say: which folders at the top become part of the package.

``configs/`` and ``dataset/samples/`` lie where somebody who reads the repository looks for them.
Installed, they lie beside the modules as ``mvector/configs`` and ``mvector/samples``, where
``mvector.shipped.shipped_folder`` finds them. The documents go into ``share/doc/mvector``.
"""

from pathlib import Path

from setuptools import find_packages, setup

SHIPPED = {"mvector.configs": "configs", "mvector.samples": "dataset/samples"}

setup(
    packages=[*find_packages(include=["mvector*"]), *SHIPPED],
    package_dir=SHIPPED,
    include_package_data=False,  # but what is named here
    package_data={
        "mvector": ["py.typed", "pretrained/*/*", "published/*.yml", "service/page/*"],
        "mvector.configs": ["*.yml"],
        "mvector.samples": ["*.md", "*/*.flac"],
    },
    data_files=[
        ("share/doc/mvector", ["CHANGELOG.md", *map(str, Path("docs").glob("*.md"))]),
        ("share/doc/mvector/tutorials", [*map(str, Path("docs/tutorials").glob("*.md"))]),
    ],
)
