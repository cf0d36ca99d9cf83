"""Feedback becomes training data and reviews; when retraining may start."""
