"""fcdist: distributed fine-tuning of open models for function calling."""

__version__ = "0.1.0"
