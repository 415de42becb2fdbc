"""Applies a trained model to videos: size, timing and sound are kept, memory is constant, and a killed run resumes.

Does not depend on training. `source` reads frames, `colors` converts them to RGB and back, `smoothing` calms the network
over time, `parts` encodes pieces that survive a kill, `assemble` joins them and the sound into the file, and `stylize`
runs all of it. `live` is a window that shows a camera. PyAV is imported only when a video is opened.
"""

from tinystyle.video.stylize import stylize_video

__all__ = ["stylize_video"]
