"""Testing a net: over the views of section 3.4, with weights of ours or of others."""
