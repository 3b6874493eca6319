"""Data: lists, datasets, augmentation, samplers."""

from mvector.data.lists import ClipList, read_list, write_list

__all__ = ["ClipList", "read_list", "write_list"]
