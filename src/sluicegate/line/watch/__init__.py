"""Is production still like what the champion was judged on?"""
