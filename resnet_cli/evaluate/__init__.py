"""Tests nets over the views of section 3.4."""
