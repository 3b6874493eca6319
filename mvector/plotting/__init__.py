"""Pictures for people: clips as a model hears them, maps of voices, curves of several runs."""
