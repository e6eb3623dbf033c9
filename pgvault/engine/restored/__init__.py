"""Operations on a restored server: looking at it, bringing data back from it, opening it, throwing it away."""
