"""What keeps a process from doing harm: limits, privileges, Landlock and seccomp, by what the kernel itself offers."""
