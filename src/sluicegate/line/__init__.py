"""The release line, a folder a verb: pipeline, gate, release, watch, learn; side doors judge and
choose.
"""
