"""The report: one self-contained HTML page, written from results and manifests only."""
