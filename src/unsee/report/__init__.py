"""Makes one self-contained page from the numbers of a run; never imports torch."""
