"""What ``option-channels replay`` is made of: a tape, a crowd, a run, its books and its report."""
