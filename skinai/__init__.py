"""skinai: an open decision aid for pictures of skin lesions. Research and education, not a medical device."""

__version__ = "0.1.0"
