"""What is wrong, or will be, and how to mend it: each check of OPERATIONS §4, from facts that others read."""
