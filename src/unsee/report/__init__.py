"""From a run's answers to numbers with intervals, a table and one self-contained page; never imports torch."""
