"""Restoring: the plan, the streams to the destination, starting the server there, and the proof that it reached its
target.
"""
