"""Making and recognising faces together: the command, the splits, the gain trials and their report."""
