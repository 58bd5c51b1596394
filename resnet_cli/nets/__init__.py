"""The nets: what they are made of, layer by layer, and how large they are."""
