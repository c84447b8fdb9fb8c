"""The sections of the data explorer, one file each."""
