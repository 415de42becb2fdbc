"""Stylizes pictures of any size in bounded memory: tile by tile, with what lies between kept in temporary files.

`scratch` has the files, `layers` the network, `bands` resizing, `decode` and `encode` the picture files, and `large` the
whole way from a photo to its stylized version.
"""
