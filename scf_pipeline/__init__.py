"""Curate spoof-aware VQA shards for face anti-spoofing: raw datasets in, Parquet out."""

__version__ = "0.1.0"
