"""The nets: their layers, their parameters and their multiply-adds."""
