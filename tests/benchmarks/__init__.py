"""Speed and memory of the command line against bare loops and other tools (`make bench`)."""
