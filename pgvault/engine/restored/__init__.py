"""What is done with a server that was restored: look at it, bring things back from it, open it, throw it away."""
