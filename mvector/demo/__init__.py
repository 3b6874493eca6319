"""Synthetic voices, for the tour and the tests."""
