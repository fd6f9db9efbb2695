"""One module per group of commands; main.py names them."""
