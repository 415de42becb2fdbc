"""What ships: the folder of a style with its Core ML files, card, Swift code and checksums, and how it is published."""
