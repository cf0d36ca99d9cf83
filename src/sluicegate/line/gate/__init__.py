"""A pull request: what changed, what it is compared with, and the verdict on it."""
