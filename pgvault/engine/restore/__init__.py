"""Restoring: the plan, the streams to the destination, starting the server there, the proof that it is where asked."""
