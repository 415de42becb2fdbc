"""The commands of `tinystyle`, one thin function each. Slow imports happen inside the functions."""
