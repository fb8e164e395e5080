"""From a spec's text to a list of weights with numbers in place of expressions."""
