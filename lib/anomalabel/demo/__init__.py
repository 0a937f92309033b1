"""The demonstration: a real head with a planted lesion, through the server, to one page."""
