"""The recovery wizard: from "what happened" to a server that runs and has been queried, step by step.

`console.recovery` has its knowledge and decisions, without a screen. The widgets, one file a step (`*_step`), are thin:
they know the session and `stage`, which declares what a step asks of its wizard; only `screen` knows the steps.
"""
