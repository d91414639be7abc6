"""What all tests share."""

from hypothesis import settings

# Derandomized and without a deadline, so that neither chance nor a slow machine fails a property.
settings.register_profile("house", derandomize=True, deadline=None, max_examples=50, database=None)
settings.load_profile("house")
