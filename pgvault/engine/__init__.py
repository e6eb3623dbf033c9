"""Operations: each takes a plan and its dependencies, emits events and returns a verdict."""
