"""The recovery wizard: from "what happened" to a server that runs and has been asked, one step after the other.

What it knows and decides is in `console.recovery`, without a screen. The widgets, one file a step (`*_step`), are thin:
they know the session and what a step asks of its wizard (`stage`), and only `screen` knows the steps.
"""
