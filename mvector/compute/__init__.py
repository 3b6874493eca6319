"""What a model computes with: device, precision, and the processes of a run."""
