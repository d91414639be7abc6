"""The stages of the pipeline, one module each: a config, `run`, and the kernels."""
