"""ReDimNet2 as Palabra publishes it: ``b6-vox2-lm.pt`` and others, of ``model_config`` and
``state_dict``.

WeSpeaker's ReDimNet2 has the same entries and hears the same features: it is imported as one of
these.
"""

from __future__ import annotations

from functools import partial

from mvector.compat import redimnet
from mvector.compat.idrnd import front_end_of
from mvector.compat.source import Published, Source

SOURCE = Source(
    title="Palabra",
    files=("b[0-6]-*.pt", "*.pt", "*.safetensors"),
    families={
        "ReDimNet2": Published(
            redimnet.read_redimnet2, redimnet.authors_table, apply_config=redimnet.apply_config
        ),
    },
    front_end=partial(front_end_of, usual="tf", normalises=True),
    heads=("spec.", "projection."),
)
