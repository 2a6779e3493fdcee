"""What count_instructions.py wrote, read by whoever fits the time model or checks it."""
