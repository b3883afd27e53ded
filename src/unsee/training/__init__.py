"""From training text to weights: batches, lessons and the one training loop."""
