"""Sluicegate: a release line for LLM applications."""

__version__ = "0.1.0"
