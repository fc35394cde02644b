"""A module that raises when it is imported, as a user's schema module may."""

raise RuntimeError("the user's own module is broken")
