"""The parts of `compression_search.py`.

candidates  the files of a finished cell, each with its size and accuracies
timing      how long files take, in rounds
choice      the smallest and the fastest of them, and what each step gave
table       as text
"""
