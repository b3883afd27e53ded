"""A local page on which several models answer the same question side by side (`unsee play`)."""
