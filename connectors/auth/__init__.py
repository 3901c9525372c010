"""Named authentication schemes: what a connector adds to a request to be let in."""
