"""Reports of an evaluation: figures, breakdowns, worst trials, pictures and comparisons."""
