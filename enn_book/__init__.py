"""What only the book needs, beside the library `enn_lib`: studies, the paper held to account, live parts."""
