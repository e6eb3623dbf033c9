"""The recovery wizard: from "what happened" to a server that runs and has been asked, one step after the other.

What it knows and decides is in values without a screen: the draft (`draft`), the steps (`steps`), what the engine
answered (`answer`), accidents (`accident`), and how each is said (`pointed`, `planned`, `running`, `proven`). The
widgets, one file a step (`*_step`), are thin.
"""
