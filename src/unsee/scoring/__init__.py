"""From answers to numbers with intervals; never imports torch."""
