"""Coverage-guided fuzzing of everything that reads what strangers hand in: ``make fuzz``."""
