"""What is released: the folder of a style with Core ML files, card, Swift code and checksums, and its publication."""
