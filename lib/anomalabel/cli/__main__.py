"""`python -m anomalabel.cli`, for where the command itself is not on the path."""

from anomalabel.cli import main

main()
