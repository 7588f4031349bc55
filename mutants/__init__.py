"""Plausible bugs, put into the conversion one at a time: the proof of a result has to see each."""
