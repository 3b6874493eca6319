"""Training: the trainer, the run that it makes, and the learner that steps."""
