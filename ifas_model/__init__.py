"""Train and judge I-FAS on VQA shards; needs neither Ray nor `scf_pipeline`."""

__version__ = "0.1.0"
