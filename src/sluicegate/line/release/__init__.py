"""Register, decide, approve, promote, report: what happens to a candidate."""
