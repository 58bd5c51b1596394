"""One training, in a folder it is given."""
