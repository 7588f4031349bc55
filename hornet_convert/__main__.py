"""`python -m hornet_convert`."""

from hornet_convert.cli import main

main()
