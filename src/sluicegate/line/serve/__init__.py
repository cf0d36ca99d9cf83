"""Serving what was promoted: the control side of the router."""
