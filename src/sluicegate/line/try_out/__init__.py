"""Trying the working tree's application on development rows, as often as one likes."""
