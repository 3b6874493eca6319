"""Corpora on disk: recipes, checking, cutting, splitting, merging and inspection."""
