"""The commands of `tinystyle`, thin: one function each. What is slow to import is imported inside them."""
