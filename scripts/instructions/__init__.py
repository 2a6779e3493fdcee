"""Parts of count_instructions.py and check_instructions.py: what a kernel's machine code is made of."""
