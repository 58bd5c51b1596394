"""The device: its precision, its ranks, its share of the cores, and the torch that drives it."""
