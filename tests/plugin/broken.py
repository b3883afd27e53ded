"""A module that cannot be imported; its distribution lists it under every kind."""

import a_library_that_nobody_has  # noqa: F401
