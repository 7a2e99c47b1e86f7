"""xling: sweep multilingual dual encoders over model size x batch mixing ratio."""

__version__ = "0.1.0"
