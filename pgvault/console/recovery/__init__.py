"""A recovery without a screen: what the wizard knows and decides.

The draft (`draft`), its file (`drafts`), the steps (`steps`) and what they share (`session`), what the engine answered
(`answer`), accidents (`accident`) and the search for them (`search`), what follows a proof (`afterwards`), and how each
is said (`typed`, `pointed`, `planned`, `running`, `proven`).
"""
