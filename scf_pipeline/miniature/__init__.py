"""The embedded default: a drawn world of twelve datasets, and small models trained from scratch."""
