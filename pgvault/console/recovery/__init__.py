"""A recovery without a screen: the wizard's knowledge and decisions.

The draft (`draft`), its file (`drafts`), the steps (`steps`) and what they share (`session`), the engine's answer
(`answer`), accidents (`accident`) and the search for them (`search`), what follows a proof (`afterwards`), and the
texts for each (`typed`, `pointed`, `planned`, `running`, `proven`).
"""
