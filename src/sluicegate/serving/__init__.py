"""Serving: which release answers whom, and that everybody can see it. Tokens are the engines' work.

keys      who may: bearer keys with roles, stored as hashes
chat      OpenAI's chat completions: what is asked, and the answer as it goes out
engines   a model as something that many requests may ask at once
releases  the releases in memory; the pointer to the champion, moved between two requests
journal   traffic rows: on the disk before the answer leaves, in the log soon after
counters  what `/metrics` shows
app       the HTTP interface
"""

from __future__ import annotations

from sluicegate.serving.engines import ServingEngine, open_serving
from sluicegate.serving.journal import Journal
from sluicegate.serving.keys import KeyFile
from sluicegate.serving.releases import Loaded, Releases

__all__ = ["Journal", "KeyFile", "Loaded", "Releases", "ServingEngine", "open_serving"]
