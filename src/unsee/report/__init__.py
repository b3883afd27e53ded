"""From the numbers of a run to one self-contained page; never imports torch."""
